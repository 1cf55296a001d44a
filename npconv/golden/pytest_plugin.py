"""A pytest plugin that runs a port's own test over golden cases.

Opt in with

    pytest_plugins = ["npconv.golden.pytest_plugin"]     # in conftest.py

and write a test that takes ``golden_case``:

    @pytest.mark.golden("layer_norm")
    def test_layer_norm(golden_case):
        actual = my_layer_norm(*golden_case.inputs, **golden_case.params, **golden_case.attributes)
        npconv.golden.assert_close(actual, golden_case.expected, case=golden_case)

The mark takes one operation or several; it may also stand on a class. A case of ``layer_norm_backward`` is one
gradient: its attribute ``wrt`` names the argument that it is of.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from npconv.errors import GoldenError
from npconv.golden.case import cases

if TYPE_CHECKING:
    import pytest

MARK, ARGUMENT = "golden", "golden_case"


def pytest_configure(config: pytest.Config) -> None:
    """Make the mark known."""
    config.addinivalue_line(
        "markers", f"{MARK}(operation, ...): run the test, which takes {ARGUMENT}, over these golden cases of npconv"
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a marked test once for each case; refuse a mark or an argument that stands alone."""
    import pytest

    names = [name for mark in metafunc.definition.iter_markers(MARK) for name in mark.args]
    takes = ARGUMENT in metafunc.fixturenames
    if not names and not takes:
        return
    if not names or not takes:
        lack = f"the argument {ARGUMENT}" if names else f'@pytest.mark.{MARK}("OPERATION")'
        pytest.fail(f"{metafunc.definition.name}: expected {lack}", pytrace=False)
    try:
        found = [case for name in dict.fromkeys(names) for case in cases(name)]
    except GoldenError as error:
        pytest.fail(f"{metafunc.definition.name}: {error}", pytrace=False)
    if not found:  # pytest would skip the test
        pytest.fail(f"{metafunc.definition.name}: no golden cases of {', '.join(names)}", pytrace=False)
    metafunc.parametrize(ARGUMENT, found, ids=[f"{case.operation}-{case.name}" for case in found])
