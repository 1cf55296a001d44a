"""What an installation brings: the package, its data, and of weights_tools the command line alone."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import npconv

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]

BUILD = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Build a wheel from a copy of what git keeps of the two packages, as an isolated build does."""
    if int(pytest.importorskip("setuptools").__version__.partition(".")[0]) < 77:
        pytest.skip("needs the setuptools that pyproject.toml asks for")
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("npconv", "weights_tools"):
        shutil.copytree(ROOT / name, folder / "tree" / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / "tree" / name)
    command = [sys.executable, "-c", BUILD, str(folder)]
    done = subprocess.run(command, cwd=folder / "tree", capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return next(folder.glob("*.whl"))


def test_the_wheel_holds_all_of_npconv_and_the_command_line_of_weights_tools(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    files = [path for path in (ROOT / "npconv").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    package = {path.relative_to(ROOT).as_posix() for path in files}
    assert names == {*package, "weights_tools/__init__.py", "weights_tools/__main__.py"}


def run(wheel, *words):
    """Run the installed ``python -m weights_tools`` as an empty environment would: the wheel itself is on the path."""
    code = f"import sys; sys.path.insert(0, {str(wheel)!r}); from weights_tools.__main__ import main; sys.exit(main())"
    command = [sys.executable, "-c", code, *words]
    return subprocess.run(command, cwd=wheel.parent, capture_output=True, text=True, timeout=60, check=False)


def test_what_needs_the_source_tree_says_so(wheel):
    done = run(wheel, "train", "pictures", "model")
    assert (done.returncode, done.stdout) == (2, "")
    expected = "weights_tools: error: python -m weights_tools train needs the source tree"
    assert done.stderr.splitlines() == [f"{expected}: run it in a checkout of the project"]


def test_the_conversion_is_installed(wheel):
    done = run(wheel, "convert", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: python -m weights_tools convert")


def test_the_version_is_that_of_the_package(wheel):
    assert wheel.name.startswith(f"npconv-{npconv.__version__}-")
