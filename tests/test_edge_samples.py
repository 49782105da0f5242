"""The phone samples: what of them can be checked without a phone.

The unit tests of both run where their compilers are: for Kotlin `kotlinc`, a JVM and
the libraries junit4, hamcrest and Android's org.json in `/usr/share/java` (on Debian
`junit4`, `libhamcrest-java` and `libandroid-json-java`), for Swift `swift`.
"""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pixel_vectors
import pytest

from egan_keras import schemas
from egan_keras.exporting import Provenance
from egan_keras.exporting.model_card import describe

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
        (KOTLIN / "EganModel.kt", r'"(\w+)" to \w+'),
        (SWIFT / "EganModel.swift", r'output\("(\w+)"\)'),
    ],
)
def test_a_sample_reads_both_outputs_by_name(path, pattern):
    assert found(pattern, path) == set(example()["outputs"])
    assert "serving_default" in path.read_text()


def test_the_example_is_like_an_export():
    class Model:
        pairing, recipe, image_shape = "a->b", "default", (48, 32, 3)

    written = describe(
        Model, Provenance(), "int8", None, input_dtype="uint8", batch_size=None
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
    assert "OK (4 tests)" in output


@pytest.mark.slow
def test_the_unit_tests_of_the_swift_sample_pass(tmp_path):
    swift = shutil.which("swift")
    if not swift:
        pytest.skip("needs swift")
    package = tmp_path / "ios"
    shutil.copytree(IOS, package, ignore=shutil.ignore_patterns(".build", "Model"))
    assert "Executed 4 tests, with 0 failures" in run([swift, "test"], package)
