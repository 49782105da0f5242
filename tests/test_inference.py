"""Frozen networks run by LiteRT once that pays, and by Keras where it does not."""

import threading

import keras
import numpy as np
import pytest

import egan_keras as ek
from egan_keras import features
from egan_keras.features import inference

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="other backends keep Keras"
)


@pytest.fixture
def at_once(monkeypatch, tmp_path):
    """Converts at the first image, and takes LiteRT however slow it is."""
    monkeypatch.setenv("EGAN_KERAS_CACHE", str(tmp_path))
    monkeypatch.setattr(inference, "_WORTH_CONVERTING", 0)
    monkeypatch.setattr(inference.time, "perf_counter", lambda: 0.0)


def network(activation="relu6"):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((12, 12, 3))
    first = keras.layers.Conv2D(4, 3, activation=activation)(inputs)
    second = keras.layers.DepthwiseConv2D(3, strides=2)(first)
    pooled = keras.layers.GlobalAveragePooling2D()(second)
    # Two of one shape, which only their order tells apart.
    return keras.Model(inputs, [pooled, second, 2 * pooled, first])


def images(count, seed=0):
    random = np.random.default_rng(seed)
    return random.integers(0, 256, (count, 12, 12, 3), "uint8")


def assert_same(found, expected):
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-3)


def in_a_pass(run, pixels):
    with run.pass_over(len(pixels)):
        return run(pixels)


@pytest.mark.parametrize("count", [1, 32, 33, 100])
def test_litert_gives_what_keras_gives_in_its_order(at_once, count):
    made = network()
    run = inference.FrozenInference(made)
    found = in_a_pass(run, images(count))
    assert run.engine == "LiteRT"
    assert_same(found, made.predict(images(count), verbose=0))


@pytest.mark.parametrize("most_bytes", [0, 10**9])
@pytest.mark.parametrize("activation", ["silu", "gelu", "hard_silu"])
def test_networks_are_converted_with_weights_in_the_graph_or_beside_it(
    at_once, monkeypatch, activation, most_bytes
):
    """The gradient of the first, which is one of its own, captures a constant."""
    monkeypatch.setattr(inference, "_MOST_BYTES_IN_GRAPH", most_bytes)
    made = network(activation)
    run = inference.FrozenInference(made)
    found = in_a_pass(run, images(5))
    assert run.engine == "LiteRT"
    assert_same(found, made.predict(images(5), verbose=0))


def test_long_passes_are_litert_s_whatever_was_passed_before(at_once, monkeypatch):
    made = network()
    work = inference._multiplications(made)
    assert work == 3 * 3 * 3 * 4 * 10 * 10 + 3 * 3 * 4 * 4 * 4
    monkeypatch.setattr(inference, "_WORTH_CONVERTING", 40 * work)
    run = inference.FrozenInference(made)

    def engines(count, batches):
        found = []
        with run.pass_over(count):
            for batch in batches:
                run(images(batch))
                found.append(run.engine)
        return found

    for _ in range(2):
        assert engines(32, [32]) == ["tensorflow"]
        assert engines(41, [8, 33]) == ["LiteRT", "LiteRT"]
        assert engines(None, [32, 32]) == ["tensorflow", "LiteRT"]
        run(images(100))
        assert run.engine == "tensorflow"
    with run.pass_over(50):
        assert engines(3, [3]) == ["LiteRT"]


def test_weights_loaded_later_are_those_that_count(at_once):
    made = network()
    run = inference.FrozenInference(made)
    before = in_a_pass(run, images(5))
    made.set_weights([2 * weight for weight in made.get_weights()])
    after = in_a_pass(run, images(5))
    assert run.engine == "LiteRT"
    assert_same(after, made.predict(images(5), verbose=0))
    assert np.abs(after[0] - before[0]).max() > 1e-2


def no_conversion(run):
    raise AssertionError("it is converted anew")


def test_later_runs_convert_nothing(at_once, monkeypatch, tmp_path):
    expected = in_a_pass(inference.FrozenInference(network()), images(5))
    monkeypatch.setattr(inference, "to_litert", no_conversion)
    run = inference.FrozenInference(network())
    for ours, theirs in zip(in_a_pass(run, images(5)), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert run.engine == "LiteRT"
    # Other weights are another network.
    other = network()
    other.set_weights([2 * weight for weight in other.get_weights()])
    run = inference.FrozenInference(other)
    in_a_pass(run, images(5))
    assert run.engine.startswith("tensorflow (LiteRT cannot: it is converted anew")


@pytest.mark.parametrize(
    "damage", [lambda x: b"", lambda x: x[:-7], lambda x: b"\0" + x[1:]]
)
def test_damaged_conversions_are_made_again(at_once, tmp_path, damage):
    expected = in_a_pass(inference.FrozenInference(network()), images(5))
    (kept,) = (tmp_path / "converted").iterdir()
    whole = kept.read_bytes()
    kept.write_bytes(damage(whole))
    found = in_a_pass(inference.FrozenInference(network()), images(5))
    assert_same(found, expected)
    assert kept.read_bytes()[-16:] == inference._digest(kept.read_bytes()[:-16])


def test_kept_conversions_that_litert_no_longer_reads_are_keras_s(at_once, monkeypatch):
    in_a_pass(inference.FrozenInference(network()), images(5))

    def refuse(content):
        raise ValueError("Op builtin_code out of range")

    monkeypatch.setattr(inference, "LiteRTFunction", refuse)
    made = network()
    run = inference.FrozenInference(made)
    found = in_a_pass(run, images(5))
    assert run.engine == "tensorflow (LiteRT cannot: Op builtin_code out of range)"
    assert_same(found, made.predict(images(5), verbose=0))


def test_conversions_need_no_folder_to_be_kept(at_once, tmp_path):
    (tmp_path / "converted").write_text("a file in the folder's place")
    run = inference.FrozenInference(network())
    in_a_pass(run, images(5))
    assert run.engine == "LiteRT"


def test_keras_keeps_what_litert_cannot_do(at_once):
    made = network(activation=keras.ops.erfinv)
    run = inference.FrozenInference(made)
    found = in_a_pass(run, images(5) / 1e4)
    assert run.engine.startswith("tensorflow (LiteRT cannot: ")
    assert_same(found, made.predict(images(5) / 1e4, verbose=0))


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_keras_keeps_what_is_not_of_32_bits(at_once, policy):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        run = inference.FrozenInference(network())
    finally:
        keras.config.set_dtype_policy(before)
    in_a_pass(run, images(5))
    assert run.engine == "tensorflow"


@pytest.mark.parametrize("wrong", [1.01, np.nan])
def test_keras_keeps_what_litert_does_otherwise(at_once, monkeypatch, wrong):
    litert = inference.LiteRTFunction.__call__
    monkeypatch.setattr(
        inference.LiteRTFunction, "__call__", lambda *a: [wrong * x for x in litert(*a)]
    )
    run = inference.FrozenInference(network())
    in_a_pass(run, images(5))
    assert run.engine == "tensorflow (LiteRT's features differ)"


def test_keras_keeps_what_it_does_faster(at_once, monkeypatch):
    times = iter([2.0, 1.0] * inference._TRIALS)
    monkeypatch.setattr(inference, "_seconds", lambda *_: next(times))
    run = inference.FrozenInference(network())
    in_a_pass(run, images(5))
    assert run.engine == "tensorflow (LiteRT is slower)"


def test_threads_share_it(at_once):
    run, wrong = inference.FrozenInference(network()), []
    expected = [in_a_pass(run, images(40, seed))[0] for seed in range(4)]

    def check(seed):
        for _ in range(5):
            if not np.array_equal(in_a_pass(run, images(40, seed))[0], expected[seed]):
                wrong.append(seed)

    threads = [threading.Thread(target=check, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.slow
def test_a_model_trains_by_it_as_by_keras(monkeypatch, digits, build_tiny):
    pixels, labels = digits

    def scores():
        keras.utils.set_random_seed(0)
        model = build_tiny()
        model.fit(pixels[:90], labels[:90], epochs=1, verbose=0)
        model.calibrate(pixels[90:], labels[90:], criterion="youden")
        engine = features.compiled(model.discriminator.stem).engine
        judged = ek.evaluate(model, pixels[90:], labels[90:], resamples=9)["auroc"]
        return model.predict(pixels, verbose=0), model.threshold, judged, engine

    by_keras = scores()
    monkeypatch.setattr(inference, "_WORTH_CONVERTING", 0)
    monkeypatch.setattr(inference.time, "perf_counter", lambda: 0.0)
    by_litert, again = scores(), scores()
    assert by_keras[3] == "tensorflow" and by_litert[3] == "LiteRT"
    np.testing.assert_allclose(by_litert[0], by_keras[0], rtol=1e-2, atol=1e-2)
    assert by_litert[2] == pytest.approx(by_keras[2], abs=0.01)
    # On one machine a run repeats bit for bit.
    np.testing.assert_array_equal(again[0], by_litert[0])
    assert again[1:3] == by_litert[1:3]


def test_a_long_pass_scores_by_litert_and_changes_nothing_for_others(
    at_once, monkeypatch, digits, build_tiny
):
    pixels, labels = digits
    model = build_tiny()
    stem = features.compiled(model.discriminator.stem)
    monkeypatch.setattr(inference, "_WORTH_CONVERTING", 60 * stem._frozen._work)

    def scores(count):
        scored = model.score_labelled(pixels[:count], labels[:count]).scores
        return scored, stem.engine

    by_keras = model.predict(pixels[:90], verbose=0)[:, 0]
    short, engine = scores(50)
    assert engine == "tensorflow"
    np.testing.assert_allclose(short, by_keras[:50], rtol=1e-5, atol=1e-5)
    long, engine = scores(90)
    assert engine == "LiteRT"
    np.testing.assert_allclose(long, by_keras, rtol=1e-3, atol=1e-3)
    np.testing.assert_array_equal(scores(50)[0], short)
    np.testing.assert_array_equal(model.predict(pixels[:90], verbose=0)[:, 0], by_keras)
