"""The plugin for porters, run by a pytest within this one."""

import pytest

from npconv.golden.case import cases

pytest_plugins = ["pytester"]

PORT = """
import numpy as np
import pytest
from npconv.golden.case import assert_close

def my_softmax(x, axis):
    exponentials = np.exp(x - x.max(axis=axis, keepdims=True))
    return exponentials / exponentials.sum(axis=axis, keepdims=True)

"""


@pytest.fixture
def port(pytester):
    """Run a test file of a port's."""
    pytester.makeconftest('pytest_plugins = ["npconv.golden.pytest_plugin"]')

    def run(code, *words):
        pytester.makepyfile(PORT + code)
        return pytester.runpytest_inprocess("--strict-markers", "-p", "no:cacheprovider", *words)

    return run


def test_a_test_runs_once_for_each_case(port):
    code = """
@pytest.mark.golden("softmax", "attention")
def test_mine(golden_case):
    if golden_case.operation == "softmax":
        actual = my_softmax(*golden_case.inputs, **golden_case.attributes)
        assert_close(actual, golden_case.expected, case=golden_case)
"""
    result = port(code, "-v")
    result.assert_outcomes(passed=len(cases("softmax")) + len(cases("attention")))
    result.stdout.fnmatch_lines(["*test_mine?softmax-scores? PASSED*", "*test_mine?attention-three_heads? PASSED*"])


def test_a_wrong_port_is_told_why(port):
    code = """
@pytest.mark.golden("softmax")
class TestMine:
    def test_mine(self, golden_case):
        assert_close(my_softmax(*golden_case.inputs, axis=-2), golden_case.expected, case=golden_case)
"""
    result = port(code)
    result.assert_outcomes(failed=len(cases("softmax")))
    result.stdout.fnmatch_lines(["*AssertionError: softmax, case scores*fits softmax over the queries: *"])


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ('@pytest.mark.golden("softmax")\ndef test_mine(): pass', "test_mine: expected the argument golden_case"),
        ("def test_mine(golden_case): pass", 'test_mine: expected @pytest.mark.golden("OPERATION")'),
        (
            '@pytest.mark.golden("gelu")\ndef test_mine(golden_case): pass',
            "test_mine: expected an operation with cases: ",
        ),
    ],
)
def test_a_mark_without_its_other_half_is_an_error(port, code, said):
    result = port(code)
    result.assert_outcomes(errors=1)
    assert said in result.stdout.str()
    assert "pytest_plugin.py" not in result.stdout.str(), "no lines of this project"


def test_other_tests_are_left_alone(port):
    port("@pytest.mark.parametrize('x', [1, 2])\ndef test_mine(x): pass").assert_outcomes(passed=2)


def test_the_mark_is_described(port):
    port("", "--markers").stdout.fnmatch_lines(
        ["@pytest.mark.golden(operation, ...): run the test, which takes golden_c*"]
    )
