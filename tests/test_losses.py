import keras
import numpy as np
import pytest

from egan_keras import losses

MAJORITY = np.array([[2.0], [-0.5]], "float32")
FAKES = np.array([[0.5], [-3.0], [1.0]], "float32")


def test_non_saturating_is_binary_cross_entropy():
    cross_entropy = keras.losses.BinaryCrossentropy(from_logits=True)
    loss = losses.get("non_saturating")
    expected = cross_entropy(np.ones((2, 1)), MAJORITY) + cross_entropy(
        np.zeros((3, 1)), FAKES
    )
    assert np.isclose(loss.discriminator(MAJORITY, FAKES), expected)
    assert np.isclose(loss.generator(FAKES), cross_entropy(np.ones((3, 1)), FAKES))


@pytest.mark.parametrize(
    ("name", "discriminator", "generator"),
    [
        (
            "least_squares",
            np.mean((MAJORITY - 1) ** 2) + np.mean((FAKES + 1) ** 2),
            np.mean(FAKES**2),
        ),
        (
            "hinge",
            np.mean(np.maximum(0, 1 - MAJORITY)) + np.mean(np.maximum(0, 1 + FAKES)),
            -np.mean(FAKES),
        ),
        ("wasserstein", np.mean(FAKES) - np.mean(MAJORITY), -np.mean(FAKES)),
    ],
)
def test_losses_are_their_formulas(name, discriminator, generator):
    loss = losses.get(name)
    assert np.isclose(loss.discriminator(MAJORITY, FAKES), discriminator)
    assert np.isclose(loss.generator(FAKES), generator)


@pytest.mark.parametrize("name", losses.BY_NAME)
def test_majority_wants_a_high_score_and_the_generator_too(name):
    loss = losses.get(name)
    better = loss.discriminator(MAJORITY + 0.1, FAKES - 0.1)
    assert better < loss.discriminator(MAJORITY, FAKES)
    below_zero = np.full((2, 1), -1.0, "float32")
    assert loss.generator(below_zero + 0.1) < loss.generator(below_zero)


@pytest.mark.parametrize("name", losses.BY_NAME)
def test_real_minority_weighs_what_the_fakes_leave(name):
    loss = losses.get(name)
    real = np.array([[-1.0], [0.25]], "float32")
    expected = loss.high(MAJORITY) + 0.3 * loss.low(FAKES) + 0.7 * loss.low(real)
    assert np.isclose(loss.discriminator(MAJORITY, FAKES, real, 0.3), expected)
    assert np.isclose(
        loss.discriminator(MAJORITY, FAKES), loss.high(MAJORITY) + loss.low(FAKES)
    )


@pytest.mark.parametrize("name", losses.BY_NAME)
def test_losses_survive_serialisation(name):
    loss = losses.get(name)
    again = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(loss)
    )
    assert type(again) is type(loss)
    assert again.get_config() == loss.get_config()


def test_gradient_penalty_is_zero_at_norm_one():
    unit = np.array([[0.6], [1.0]], "float32"), np.array([[0.8], [0.0]], "float32")
    assert np.isclose(losses.gradient_norm_penalty(list(unit)), 0, atol=1e-6)
    twice = [2 * gradient for gradient in unit]
    assert np.isclose(losses.gradient_norm_penalty(twice), 1, atol=1e-5)


def test_unknown_loss_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="Unknown adversarial loss.*hinge.*'bce'"):
        losses.get("bce")
    with pytest.raises(ValueError, match="must not be negative.*gradient_penalty=-1"):
        losses.Wasserstein(gradient_penalty=-1)
