"""Builds wheel and sdist, and tries them where this checkout is not: `make test-wheel`.

    python tests/helpers/check_wheel.py [PYTHON]

What was tried stays in dist/. The Python that runs this has the packages `build`,
`twine` and `uv`; the empty environment is of PYTHON, such as `python3.13`.
"""

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
# What the checkout's pytest settings say, and those are not there.
DOCTESTS = [
    *"--doctest-modules --pyargs egan_keras -q -p no:cacheprovider".split(),
    "--override-ini=doctest_optionflags=NORMALIZE_WHITESPACE ELLIPSIS NUMBER",
]
# Imports each public name, and finds the files that are not Python.
IMPORTS = """
import importlib.resources, pathlib, sys
import egan_keras as ek
assert pathlib.Path(ek.__file__).is_relative_to(sys.prefix), ek.__file__
for name in ek.__all__:
    getattr(ek, name)
for file in sys.argv[1:]:
    assert importlib.resources.files("egan_keras").joinpath(file).is_file(), file
print(f"egan-keras {ek.__version__}: {len(ek.__all__)} public names")
"""


def run(*command, cwd=None):
    """Runs a program that must end well, telling how it is called."""
    command = [str(each) for each in command]
    print("$", *(each.strip().partition("\n")[0] for each in command[:8]), flush=True)
    if subprocess.run(command, cwd=cwd).returncode:
        sys.exit("wheel or sdist are not sound: what was called last has failed")


def own_files():
    """Returns what must be in both archives, below the package's folder."""
    package = ROOT / "egan_keras"
    files = [path for path in package.rglob("*") if path.is_file()]
    kept = [path for path in files if "__pycache__" not in path.parts]
    return {path.relative_to(ROOT).as_posix() for path in kept}


def check_contents(wheel, sdist):
    """Refuses archives that lack a file of the package, or have one too many."""
    expected = own_files()
    assert "egan_keras/py.typed" in expected
    assert any("/page/" in name for name in expected)
    with zipfile.ZipFile(wheel) as archive:
        found = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert found == expected, found ^ expected
    with tarfile.open(sdist) as archive:
        files = [member.name for member in archive.getmembers() if member.isfile()]
    found = {name.partition("/")[2] for name in files}
    missing = {*expected, "setup.py", "pyproject.toml", "README.md", "LICENSE"} - found
    assert not missing, missing
    assert not [name for name in found if name.startswith(("tests/", "docs/"))]
    print(f"{wheel.name}: {wheel.stat().st_size:,} bytes, {len(expected)} files")


def size_of(folder):
    """Returns the bytes of all files below a folder."""
    paths = [path for path in folder.rglob("*") if not path.is_symlink()]
    return sum(path.stat().st_size for path in paths if path.is_file())


def main():
    """Builds, checks, installs and tries."""
    python = sys.argv[1] if len(sys.argv) > 1 else sys.executable
    with tempfile.TemporaryDirectory() as temporary:
        elsewhere, environment = (Path(temporary) / x for x in ("else", "environment"))
        elsewhere.mkdir()
        dist = ROOT / "dist"
        shutil.rmtree(dist, ignore_errors=True)
        # The wheel is built from the sdist, which is whole if that works.
        run(sys.executable, "-m", "build", "--outdir", dist, ROOT)
        (wheel,), (sdist,) = dist.glob("*.whl"), dist.glob("*.tar.gz")
        check_contents(wheel, sdist)
        run(sys.executable, "-m", "twine", "check", "--strict", wheel, sdist)
        uv = [sys.executable, "-m", "uv"]
        run(*uv, "venv", "--python", python, environment)
        scripts = environment / ("Scripts" if os.name == "nt" else "bin")
        install = [*uv, "pip", "install", "--python", scripts / "python"]
        others = [name.partition("/")[2] for name in own_files()]
        imports = [scripts / "python", "-c", IMPORTS, *others]
        run(*install, wheel)
        print(f"installed: {size_of(environment) / 1e6:,.0f} MB")
        run(*imports, cwd=elsewhere)
        run(scripts / "egan-keras", "demo", "--out", "demo", cwd=elsewhere)
        assert (elsewhere / "demo/report.html").is_file()
        run(*install, "pytest")
        # They import packages that only `make test-backends` installs.
        (steps,) = environment.rglob("egan_keras/model/step")
        ignored = [f"--ignore={steps / name}" for name in ("jax.py", "torch.py")]
        run(scripts / "python", "-m", "pytest", *DOCTESTS, *ignored, cwd=elsewhere)
        run(*install, "--no-deps", "--reinstall", sdist)
        run(*imports, cwd=elsewhere)
    print("wheel and sdist are sound")


if __name__ == "__main__":
    main()
