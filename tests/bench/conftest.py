"""A small model on disk, and stand-ins for rivals that are installed in no place but the test's own."""

import importlib
import os
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from support.small_models import CONFIGS

import npconv
from npconv.bench.architectures import write_random_model


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a ConvNeXt V2 with five classes."""
    folder = tmp_path_factory.mktemp("bench") / "small"
    write_random_model(CONFIGS["convnextv2"], folder)
    return folder


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Make a module that this process and those it starts find before any other of its name."""
    folder = tmp_path / "modules"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    package = str(Path(npconv.__file__).parents[1])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), package]))

    def write(name: str, code: str) -> None:
        (folder / f"{name}.py").write_text(textwrap.dedent(code))
        importlib.invalidate_caches()

    return write
