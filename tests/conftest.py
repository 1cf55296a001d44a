"""Settings and fixtures that every room of the tests shares."""

import os
import sys
from types import ModuleType

import hypothesis
import pytest
from support import standins

from npconv import backend

os.environ["HF_HUB_OFFLINE"] = "1"  # no test reaches for the network

# PyTorch without AMX: with it (Sapphire Rapids), the first convolution of one random model in bfloat16 is outside of
# the tolerances that hold for all others.
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16")

# No deadline, no check for slowness: the machine may be busy. No database: a run leaves nothing behind.
hypothesis.settings.register_profile(
    "npconv",
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
    database=None,
    max_examples=50,
    print_blob=True,
)
hypothesis.settings.register_profile("fast", hypothesis.settings.get_profile("npconv"), max_examples=10)
hypothesis.settings.load_profile("npconv")


def pytest_configure(config: pytest.Config) -> None:
    """Try fewer examples in the fast run."""
    if config.option.markexpr == "fast":
        hypothesis.settings.load_profile("fast")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as ``fast`` what has no mark that says that it takes longer or needs more."""
    for item in items:
        if not {"reference", "slow", "page", "long"} & {mark.name for mark in item.iter_markers()}:
            item.add_marker("fast")


@pytest.fixture
def device_stub(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A strict device array library, known to npconv as the device ``"stub"``; its ``ledger`` counts transfers."""
    module = standins.make_device_stub()
    monkeypatch.setitem(sys.modules, "device_stub", module)
    monkeypatch.setitem(sys.modules, "device_stub.special", module.special)
    monkeypatch.setitem(backend.SPECIAL_FUNCTIONS, "device_stub", "device_stub.special")
    monkeypatch.setitem(backend.DEVICES, "stub", "device_stub")
    return module
