"""The modules of this room import torch and transformers, which takes seconds: only for the suite that runs them."""

from __future__ import annotations

from pathlib import Path

import pytest

#: Has tests that need neither, and imports them inside the others.
WITHOUT_TORCH = "test_make_goldens.py"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave the modules out of the default run, in which none of their tests would be chosen."""
    default_run = config.getoption("markexpr") == "not reference"
    is_module = collection_path.suffix == ".py"
    return True if default_run and is_module and collection_path.name != WITHOUT_TORCH else None
