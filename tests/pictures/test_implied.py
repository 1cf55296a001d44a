"""The weight that fits is the weight that was used: of every linear step, there and back."""

import numpy as np
import pytest

from npconv.pictures.implied import implied_context, implied_heads, implied_shares, implied_weight, terms_of
from npconv.plan.run import run_step
from npconv.plan.step import Step

RNG = np.random.default_rng(0)
X = RNG.normal(size=(2, 4, 9, 8))
TOKENS = RNG.normal(size=(2, 30, 6))
ROUNDED = {"rtol": 0, "atol": 1e-9}  # least squares of some hundred equations in float64, of numbers of about 1


def step(operation, **attributes):
    return Step("y", operation, ("x",), {"weight": "w", "bias": "b"}, attributes)


CONV = step("conv2d", stride=1, padding=1)
DEPTHWISE = step("depthwise_conv2d", stride=1, padding=1)
LINEAR, POINTWISE = step("linear"), step("pointwise_conv2d")


@pytest.mark.parametrize(
    ("one", "source", "weight"),
    [
        (CONV, X, RNG.normal(size=(5, 4, 3, 3))),
        (step("conv2d", stride=2, padding=0), RNG.normal(size=(6, 2, 9, 8)), RNG.normal(size=(5, 2, 3, 3))),
        (DEPTHWISE, X, RNG.normal(size=(4, 1, 3, 3))),
        (POINTWISE, X, RNG.normal(size=(7, 4))),
        (LINEAR, TOKENS, RNG.normal(size=(5, 6))),
    ],
)
def test_the_weight_and_the_bias_of_a_step_are_found(one, source, weight):
    right, bias = RNG.normal(size=weight.shape), RNG.normal(size=len(weight))
    result = run_step(one, [source], {"w": weight, "b": bias})
    channels = range(len(weight))
    found, found_bias = implied_weight(one, source, result, right, np.zeros(len(weight)), channels)
    np.testing.assert_allclose(found.reshape(len(weight), -1), weight.reshape(len(weight), -1), **ROUNDED)
    np.testing.assert_allclose(found_bias, bias, **ROUNDED)


def test_what_a_norm_leaves_open_is_taken_from_the_checkpoint():
    """Channels that sum to 0 do not tell a weight from a bias; a missing bias must not look like another weight."""
    source = X - X.mean(axis=1, keepdims=True)
    weight, bias = RNG.normal(size=(7, 4)), RNG.normal(size=7)
    result = run_step(POINTWISE, [source], {"w": weight, "b": 0 * bias})
    found, found_bias = implied_weight(POINTWISE, source, result, weight, bias, ())
    np.testing.assert_allclose(found, weight, **ROUNDED)
    np.testing.assert_allclose(found_bias, 0, **ROUNDED)


def test_on_the_way_back_the_kernel_is_turned():
    weight = RNG.normal(size=(4, 1, 3, 3))
    back = Step("g", "depthwise_conv2d_backward", ("grad", "x"), {"weight": "w"}, {**DEPTHWISE.attributes, "wrt": "x"})
    result = run_step(back, [X, X], {"w": weight})
    found, _ = implied_weight(back, X, result, weight, None, [0, 1, 2, 3])
    np.testing.assert_allclose(found, weight[:, 0, ::-1, ::-1], **ROUNDED)


@pytest.mark.parametrize(
    ("one", "source", "result"),
    [
        (step("layer_norm"), X, X),
        (LINEAR, TOKENS[:1, :5], TOKENS[:1, :5]),  # fewer positions than unknowns
        (CONV, X, X[:, :, :3]),
        (step("conv2d", stride=1, padding=1, dilation=2), X, X),
        (Step("g", "linear_backward", ("grad",), {}, {"wrt": "weight"}), TOKENS, TOKENS),
    ],
)
def test_nothing_is_said_where_a_weight_cannot_be_told(one, source, result):
    assert implied_weight(one, source, result, np.zeros((4, 4, 3, 3)), None, [0]) is None


def test_the_channels_of_each_head_are_found_from_scores():
    scores = run_step(
        Step("s", "attention_scores", ("q", "k"), {}, {"num_heads": 2, "scale": 0.3}), [TOKENS, TOKENS[:, ::2]], {}
    )
    found = implied_heads(TOKENS, TOKENS[:, ::2], scores)
    np.testing.assert_allclose(found, 0.3 * np.kron(np.eye(2), np.ones(3)), **ROUNDED)


def test_the_head_of_each_channel_is_found_from_the_result_of_attention():
    probabilities = RNG.dirichlet(np.ones(30), size=(2, 2, 30))
    context = run_step(Step("c", "attention_context", ("p", "v"), {}, {}), [probabilities, TOKENS], {})
    found = implied_context(probabilities, TOKENS, context)
    np.testing.assert_allclose(found.sum(axis=2), np.kron(np.eye(2), np.ones(3)).T, **ROUNDED)
    np.testing.assert_allclose(found.sum(axis=1), np.eye(6), **ROUNDED)
    assert implied_context(probabilities[0], TOKENS, context) is None


def test_how_often_each_term_counts():
    terms = [X, X[::-1], X**2]
    counts, rest = implied_shares(terms, 2 * terms[0] - 0.5 * terms[2])
    np.testing.assert_allclose([*counts, rest], [2, 0, -0.5, 0], **ROUNDED)
    assert implied_shares([X, 2 * X], X) is None
    assert implied_shares([X], np.full(X.shape, np.nan)) is None


def test_the_gradient_of_a_parameter_is_a_sum_over_samples():
    back = Step("g", "linear_backward", ("grad", "x"), {"weight": "w"}, {"wrt": "weight"})
    inputs, weights = [TOKENS[..., :5], TOKENS], {"w": RNG.normal(size=(5, 6))}
    terms, what = terms_of(back, inputs, weights)
    assert what == "sample"
    np.testing.assert_allclose(sum(terms), run_step(back, inputs, weights), **ROUNDED)
    assert terms_of(POINTWISE, [X], {}) == ([], "")
    assert terms_of(Step("r", "residual", ("x", "y"), {}, {}, "NCHW"), [X, X], {})[1] == "input"
