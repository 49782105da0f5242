"""The phone samples: what of them can be checked without a phone.

The unit tests of both run where their compilers are: for Kotlin `kotlinc`, a JVM and
the libraries junit4, hamcrest and Android's org.json in `/usr/share/java` (on Debian
`junit4`, `libhamcrest-java` and `libandroid-json-java`; kotlinc is in the npm package
`kotlin-compiler`), for Swift `swift`.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
from importlib import metadata
from pathlib import Path

import numpy as np
import pixel_vectors
import pytest
from ai_edge_litert.compiled_model import CompiledModel
from PIL import Image
from tiny_export import export_tiny

from egan_keras import schemas
from egan_keras.exporting.model_card import Provenance, describe

pytestmark = pytest.mark.whole

EXPORT = Path(__file__).parents[1] / "export"
ANDROID = EXPORT / "android/app/src"
IOS = EXPORT / "ios"
JARS = [
    Path("/usr/share/java") / name
    for name in ("junit4.jar", "hamcrest.jar", "com.android.json.jar")
]
KOTLIN = ANDROID / "main/kotlin/egan/sample"
SWIFT = IOS / "EganSample"


def example(file="android/app/src/test/resources/egan_example.json"):
    return json.loads((EXPORT / file).read_text())


def keys(value):
    """Every key of a JSON object, at any depth."""
    if isinstance(value, list):
        return set().union(*map(keys, value))
    if isinstance(value, dict):
        return set(value).union(*map(keys, value.values()))
    return set()


def found(pattern, path):
    names = set(re.findall(pattern, path.read_text()))
    assert names, f"{pattern} is nowhere in {path.name}"
    return names


def run(command, folder, environment=None):
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


@pytest.mark.parametrize("file", pixel_vectors.FILES, ids=["android", "ios"])
def test_the_pixels_expected_of_the_phones_are_pythons(file):
    assert file.read_text() == pixel_vectors.text(), (
        "run tests/helpers/pixel_vectors.py"
    )


def test_both_samples_read_the_same_example():
    assert example() == example("ios/EganSampleTests/egan_example.json")


@pytest.mark.parametrize(
    ("path", "pattern"),
    [
        (KOTLIN / "Contract.kt", r'(?:get|opt)\w+\("(\w+)"\)'),
        (KOTLIN / "Contract.kt", r'strings\(classes, "(\w+)"\)'),
        (SWIFT / "Contract.swift", r"(?m)^ {8}let (\w+): "),
        (SWIFT / "Contract.swift", r"forKey: \.(\w+)"),
    ],
)
def test_a_sample_reads_only_keys_that_an_export_writes(path, pattern):
    assert found(pattern, path) <= keys(example())


@pytest.mark.parametrize(
    ("path", "pattern"),
    [
        (KOTLIN / "EganModel.kt", r'read\("(\w+)"\)'),
        (SWIFT / "EganModel.swift", r'output\("(\w+)"\)'),
    ],
)
def test_a_sample_reads_both_outputs_by_name(path, pattern):
    assert found(pattern, path) == set(example()["outputs"])


@pytest.mark.parametrize("quantize", ["none", "int8"])
def test_the_samples_way_through_litert_gives_the_golden_scores(tmp_path, quantize):
    """Their calls of CompiledModel, in Python: bytes as int8, a buffer an output."""
    path = export_tiny(tmp_path, quantize)
    beside = json.loads(path.with_suffix(".json").read_text())
    model = CompiledModel.from_buffer(path.read_bytes())
    signature, name = "serving_default", beside["input"]["name"]
    pixels = model.create_input_buffer_by_name(signature, name)
    outputs = {
        output: model.create_output_buffer_by_name(signature, output)
        for output in beside["outputs"]
    }
    for golden in beside["golden"]["images"]:
        rgb = np.asarray(Image.open(tmp_path / golden["file"]).convert("RGB"))
        is_float = beside["input"]["dtype"] == "float32"
        pixels.write((rgb.astype("float32") if is_float else rgb.view("int8")).ravel())
        model.run_by_name(signature, {name: pixels}, outputs)
        score = outputs["score"].read(1, np.float32)[0]
        assert abs(score - golden["score"]) <= beside["golden"]["tolerance"]
        is_minority = outputs["is_minority"].read(1, np.float32)[0]
        assert is_minority == golden["is_minority"]


def test_litert_wants_a_buffer_for_every_output(tmp_path):
    """Why the samples make one for a heat map that they do not read."""
    path = export_tiny(tmp_path)
    model = CompiledModel.from_buffer(path.read_bytes())
    pixels = model.create_input_buffer_by_name("serving_default", "images")
    score = model.create_output_buffer_by_name("serving_default", "score")
    with pytest.raises(RuntimeError, match="missing some output"):
        model.run_by_name("serving_default", {"images": pixels}, {"score": score})


def test_gradles_wrapper_is_gradles():
    """The SHA-256 that Gradle publishes for the wrapper of 9.4.0."""
    wrapper = EXPORT / "android/gradle/wrapper"
    digest = hashlib.sha256((wrapper / "gradle-wrapper.jar").read_bytes()).hexdigest()
    assert digest == "55243ef57851f12b070ad14f7f5bb8302daceeebc5bce5ece5fa6edb23e1145c"
    assert os.access(EXPORT / "android/gradlew", os.X_OK)
    properties = (wrapper / "gradle-wrapper.properties").read_text()
    assert re.search(r"distributionUrl=https\\://services\.gradle\.org/", properties)
    assert re.search(r"distributionSha256Sum=[0-9a-f]{64}", properties)


def test_no_kotlin_plugin_that_android_refuses_and_no_pods():
    for file in ("build.gradle.kts", "app/build.gradle.kts"):
        assert (
            "org.jetbrains.kotlin.android"
            not in (EXPORT / "android" / file).read_text()
        )
    assert not (IOS / "Podfile").exists()


def test_both_phones_take_the_same_litert_as_python():
    version = metadata.version("ai-edge-litert").rsplit(".", 1)[0]
    gradle = (EXPORT / "android/app/build.gradle.kts").read_text()
    assert f"com.google.ai.edge.litert:litert:{version}." in gradle
    assert f"branch: release/{version}." in (IOS / "project.yml").read_text()


def test_every_swift_file_is_in_the_package_or_left_out_of_it():
    """What `swift test` leaves out must be there: Swift warns of a file that is not."""
    package = (IOS / "Package.swift").read_text()
    left_out = set(re.findall(r'"([\w+]+\.swift)"', package))
    files = {path.name: path.read_text() for path in IOS.rglob("Egan*/*.swift")}
    needs_ios = {
        name
        for name, text in files.items()
        if re.search(r"^import (UIKit|SwiftUI|AVFoundation|LiteRT)$", text, re.M)
    }
    assert left_out == needs_ios


def test_the_example_is_like_an_export():
    class Model:
        pairing, recipe, image_shape = "a->b", "default", (48, 32, 3)

    written = describe(
        Model, Provenance(), "int8", None, input_dtype="uint8", batch_size=1
    )
    expected = example()
    for key in ("format", "format_version", "input", "outputs"):
        assert expected[key] == written[key], key
    assert set(expected["classes"]) == set(written["classes"])
    known = schemas.BESIDE["properties"]["golden"]["properties"]
    assert set(expected["golden"]) == set(known)


def test_the_unit_tests_of_the_kotlin_sample_pass(tmp_path):
    compiler = shutil.which("kotlinc")
    missing = [str(path) for path in JARS if not path.exists()]
    if not compiler or missing:
        pytest.skip(f"needs kotlinc and {', '.join(missing) or 'a JVM'}")
    jars = os.pathsep.join(map(str, JARS))
    sources = [KOTLIN / "Pixels.kt", KOTLIN / "Contract.kt"]
    sources += sorted((ANDROID / "test/kotlin/egan/sample").glob("*.kt"))
    classes = tmp_path / "tests.jar"
    run([compiler, "-include-runtime", "-cp", jars, "-d", classes, *sources], tmp_path)
    path = os.pathsep.join([str(classes), jars, str(ANDROID / "test/resources")])
    names = ["egan.sample.PixelsTest", "egan.sample.ContractTest"]
    output = run(["java", "-cp", path, "org.junit.runner.JUnitCore", *names], tmp_path)
    assert "OK (7 tests)" in output


@pytest.mark.slow
def test_the_unit_tests_of_the_swift_sample_pass(tmp_path):
    swift = shutil.which("swift")
    if not swift:
        pytest.skip("needs swift")
    package = tmp_path / "ios"
    shutil.copytree(IOS, package, ignore=shutil.ignore_patterns(".build", "Model"))
    assert "Executed 7 tests, with 0 failures" in run([swift, "test"], package)
