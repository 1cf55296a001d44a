"""The parameter that a port used, solved for where one step is linear in it."""

from types import SimpleNamespace

import numpy as np
import pytest

from npconv.golden.kinds import solved
from npconv.golden.kinds.solved import TABLES, solve
from npconv.plan.operations import OPERATIONS


def drawn(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


#: What each operation takes: inputs, parameters and attributes.
TAKES = {
    "conv2d": (drawn(1, 2, 3, 9, 10), {"weight": drawn(2, 4, 3, 2, 3), "bias": drawn(3, 4)}, {"padding": (1, 2)}),
    "pointwise_conv2d": (drawn(1, 2, 5, 4, 3), {"weight": drawn(2, 6, 5), "bias": drawn(3, 6)}, {}),
    "linear": (drawn(1, 2, 7, 5), {"weight": drawn(2, 6, 5), "bias": drawn(3, 6)}, {}),
    "depthwise_conv2d": (drawn(1, 2, 3, 9, 8), {"weight": drawn(2, 3, 1, 3, 2), "bias": drawn(3, 3)}, {"padding": 1}),
    "layer_norm": (drawn(1, 2, 5, 4, 3), {"weight": drawn(2, 5), "bias": drawn(3, 5)}, {"eps": 1e-6, "axis": 1}),
    "rms_norm": (drawn(1, 2, 5, 4, 3), {"weight": drawn(2, 5)}, {"eps": 1e-6, "axis": 1}),
    "simple_norm": (drawn(1, 2, 5, 4, 3), {"weight": drawn(2, 5)}, {"eps": 1e-6, "axis": 1}),
    "batch_norm": (
        drawn(1, 2, 5, 4, 3),
        {
            **{"weight": drawn(2, 5), "bias": drawn(3, 5), "running_mean": drawn(4, 5)},
            "running_var": drawn(5, 5) ** 2 + 1,
        },
        {"eps": 1e-5},
    ),
    "layer_scale": (drawn(1, 2, 5, 4, 3), {"layer_scale_parameter": drawn(2, 5)}, {}),
}


def place(operation, *, wrong=(), **changed):
    """A step whose parameters `wrong` are others in mine; `changed` are its inputs or attributes."""
    x, params, attributes = TAKES[operation]
    x, attributes = changed.pop("x", x).copy(), {**attributes, **changed}

    def run(**other):
        return OPERATIONS[operation](x, **{**params, **attributes, **other})

    mine = run(**{name: 2 * params[name] + drawn(9, *params[name].shape) for name in wrong})
    step = SimpleNamespace(operation=operation, attributes=attributes)
    return SimpleNamespace(step=step, inputs=[x], arguments=params, right=run(), mine=mine, run=run)


PAIRS = [pair for pair in TABLES if pair[0] in TAKES]


@pytest.mark.parametrize(("operation", "name"), PAIRS, ids=map("-".join, PAIRS))
def test_it_is_found(operation, name):
    at = place(operation, wrong=[name])
    right = at.arguments[name]
    np.testing.assert_allclose(solve(at, name), 2 * right + drawn(9, *right.shape), rtol=1e-9, atol=1e-9)


def test_that_is_asked_of_all_that_can_be_solved_but_grn():
    """The step of GRN takes three arrays; :func:`_of_channels` is that of the norms."""
    assert {pair[0] for pair in TABLES} == {*TAKES, "grn_apply"}
    assert {name for operation, name in TABLES if operation == "grn_apply"} == {"weight", "bias"}


@pytest.mark.parametrize("stride", [2, (1, 2), (2, 1)])
@pytest.mark.parametrize("operation", ["conv2d", "depthwise_conv2d"])
def test_windows_are_those_of_the_stride(operation, stride):
    at = place(operation, wrong=["weight"], stride=stride)
    expected = 2 * at.arguments["weight"] + drawn(9, *at.arguments["weight"].shape)
    np.testing.assert_allclose(solve(at, "weight"), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("operation", ["conv2d", "depthwise_conv2d"])
def test_and_of_the_dilation(operation):
    at = place(operation, wrong=["weight"], dilation=2)
    expected = 2 * at.arguments["weight"] + drawn(9, *at.arguments["weight"].shape)
    np.testing.assert_allclose(solve(at, "weight"), expected, rtol=1e-9, atol=1e-9)


def test_without_a_parameter_of_its_own_or_finite_numbers_there_is_nothing_to_solve():
    assert solve(place("linear"), "running_mean") is None
    for broken in ("mine", "inputs"):
        at = place("linear")
        (at.mine if broken == "mine" else at.inputs[0])[0, 0, 0] = np.inf
        with np.errstate(invalid="ignore"):
            assert solve(at, "weight") is None
    at = place("linear")
    at.mine = None
    assert solve(at, "weight") is None


def of_positions(operation, count):
    """An input with so many windows."""
    if operation == "linear":
        return drawn(1, 1, count, 5)
    return drawn(1, 1, 3, 2, count + 2) if operation == "conv2d" else drawn(1, 1, 3, 3, count + 1)


@pytest.mark.parametrize(("operation", "positions"), [("linear", 6), ("conv2d", 22), ("depthwise_conv2d", 8)])
def test_as_many_equations_as_unknown_numbers_and_a_fifth_more(operation, positions):
    """Linear has 5 for an output, the convolution 18, the depthwise convolution 6."""
    settings = {} if operation == "linear" else {"padding": 0}
    few, enough = (
        place(operation, x=of_positions(operation, count), **settings) for count in (positions - 1, positions)
    )
    assert solve(few, "weight") is None
    assert solve(enough, "weight") is not None


def test_inputs_that_depend_on_each_other_tell_nothing():
    x = drawn(1, 2, 7, 5)
    x[..., 1] = x[..., 0]
    assert solve(place("linear", x=x), "weight") is None
    maps = drawn(1, 2, 3, 9, 8)
    maps[:, 1] = 1.0
    assert solve(place("depthwise_conv2d", x=maps, padding=0), "weight") is None
    maps[:, 1] = 0.0
    assert solve(place("layer_scale", x=maps[:, [0, 1, 2, 2, 2]]), "layer_scale_parameter") is None


@pytest.mark.parametrize("operation", ["conv2d", "depthwise_conv2d", "linear"])
def test_large_tables_are_left_alone(operation, monkeypatch):
    at = place(operation, wrong=["weight"])
    x, weight = at.inputs[0], at.arguments["weight"]
    numbers = x.size if operation == "linear" else at.right[:, 0].size * x.shape[1] * weight[0, 0].size
    monkeypatch.setattr(solved, "LARGEST", numbers)
    assert solve(at, "weight") is not None
    monkeypatch.setattr(solved, "LARGEST", numbers - 1)
    assert solve(at, "weight") is None
