"""Layers over tokens backwards, against differences: attention and its parts, pooling, what only moves numbers."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from support.gradient_cases import assert_is_gradient, numbers
from support.layer_cases import Case

from npconv import gradients, layers
from npconv.errors import InputError

seeds = st.integers(0, 999)
small = st.integers(1, 3)


@given(st.lists(small, min_size=0, max_size=3), small, small, st.booleans(), seeds)
def test_linear(others, inputs, outputs, has_bias, seed):
    arrays = {"x": numbers(seed, *others, inputs), "weight": numbers(seed, outputs, inputs)}
    if has_bias:
        arrays["bias"] = numbers(seed, outputs)
    assert_is_gradient(Case("", layers.linear, arrays), seed)


@given(st.lists(st.integers(1, 4), min_size=1, max_size=3), st.data(), seeds)
def test_softmax(shape, data, seed):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    assert_is_gradient(Case("", layers.softmax, {"x": numbers(seed, *shape)}, {"axis": axis}), seed)


@st.composite
def attentions(draw):
    """Draw query, key and value, and the number of heads."""
    batch, length, seen, heads, width = (draw(small) for _ in range(5))
    seed, embed_dim = draw(seeds), heads * width
    arrays = {"query": numbers(seed, batch, length, embed_dim), "key": numbers(seed + 1, batch, seen, embed_dim)}
    return {**arrays, "value": numbers(seed + 2, batch, seen, embed_dim)}, heads


@given(attentions(), st.sampled_from([0.2, 1.0]), st.sampled_from([0.0, 0.4, 1.0]), seeds)
def test_attention(drawn, scale, rate, seed):
    """With dropout the same probabilities are dropped at every step of the differences."""
    arrays, heads = drawn
    options = {"num_heads": heads, "scale": scale}
    if rate:
        case = Case("", layers.attention, arrays, {**options, "dropout_rate": rate}, seed=seed)
    else:
        case = Case("", layers.attention, arrays, options)
    assert_is_gradient(case, seed)


@given(attentions(), st.sampled_from([0.2, 1.0]), seeds)
def test_the_parts_of_attention(drawn, scale, seed):
    arrays, heads = drawn
    pair = {name: arrays[name] for name in ("query", "key")}
    options = {"num_heads": heads, "scale": scale}
    assert_is_gradient(Case("", layers.attention_scores, pair, options), seed)
    probabilities = numbers(seed, *layers.attention_scores(**pair, **options).shape)
    context = {"probabilities": probabilities, "value": arrays["value"]}
    assert_is_gradient(Case("", layers.attention_context, context), seed)


@given(small, small, small, small, st.integers(0, 2), seeds)
def test_what_makes_tokens_of_a_map_and_a_map_of_tokens(batch, embed_dim, height, width, before, seed):
    assert_is_gradient(Case("", layers.map_tokens, {"x": numbers(seed, batch, embed_dim, height, width)}), seed)
    tokens = {"x": numbers(seed, batch, before + height * width, embed_dim)}
    size = {"height": height, "width": width}
    assert_is_gradient(Case("", layers.positions_map, tokens, size), seed)
    if before:
        assert_is_gradient(Case("", layers.class_token, tokens, size), seed)


@given(small, small, small, st.sampled_from(["one for all", "one a sample"]), seeds)
def test_join_class_token(batch, length, embed_dim, kind, seed):
    cls_token = numbers(seed, 1 if kind == "one for all" else batch, 1, embed_dim)
    arrays = {"cls_token": cls_token, "x": numbers(seed, batch, length, embed_dim)}
    assert_is_gradient(Case("", layers.join_class_token, arrays), seed)


def test_a_class_token_without_an_axis_of_its_own():
    grad_y = numbers(0, 2, 4, 3)
    grad_token, grad_x = gradients.join_class_token_backward(grad_y, (2, 3))
    np.testing.assert_array_equal(grad_token, grad_y[:, 0])
    np.testing.assert_array_equal(grad_x, grad_y[:, 1:])


def test_the_gradient_of_a_class_token_for_all_samples_is_their_sum():
    grad_y = np.ones((3, 5, 2))
    grad_token, _ = gradients.join_class_token_backward(grad_y, (1, 1, 2))
    np.testing.assert_array_equal(grad_token, np.full((1, 1, 2), 3.0))


@given(small, small, small, seeds)
def test_means_of_tokens_and_features(batch, length, width, seed):
    assert_is_gradient(Case("", layers.token_mean, {"x": numbers(seed, batch, length, width)}), seed)
    x, y = numbers(seed, batch, width), numbers(seed + 1, batch, width)
    assert_is_gradient(Case("", layers.halfway, {"x": x, "y": y}), seed)
    other = numbers(seed, batch, length)
    assert_is_gradient(Case("", layers.join_features, {"x": x, "y": other}), seed)


@given(small, small, st.integers(1, 4), st.integers(1, 4), seeds)
def test_pooling_of_maps(batch, channels, height, width, seed):
    """The largest values of maps differ from the others: at a tie there is no slope, see below."""
    shape = (batch, channels, height, width)
    assert_is_gradient(Case("", layers.global_average_pool, {"x": numbers(seed, *shape)}), seed)
    order = np.random.default_rng(seed).permutation(batch * channels * height * width)
    assert_is_gradient(Case("", layers.global_max_pool, {"x": order.reshape(shape) / 8}), seed)


@given(st.integers(2, 4), st.integers(2, 4), st.data(), seeds)
def test_places_with_the_same_largest_value_share_the_gradient(height, width, data, seed):
    x = -np.abs(numbers(seed, 1, 1, height, width))
    tied = data.draw(st.lists(st.integers(0, height * width - 1), min_size=1, unique=True))
    x.flat[tied] = 2.0
    grad_x = gradients.global_max_pool_backward(np.array([[6.0]]), x, layers.global_max_pool(x))
    expected = np.zeros(x.shape)
    expected.flat[tied] = 6.0 / len(tied)
    np.testing.assert_allclose(grad_x, expected, rtol=1e-15, atol=0)  # a product and a quotient: two roundings at most


MAP, TOKENS, FEATURES = np.ones((2, 6, 3, 4)), np.ones((2, 5, 6)), np.ones((2, 6))
SCORES = np.ones((2, 3, 5, 5))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: gradients.linear_backward(TOKENS[:1], TOKENS, np.ones((6, 6))), r"grad_y of shape \(2, 5, 6\).*got"),
        (lambda: gradients.linear_backward(TOKENS, TOKENS, np.ones((6, 7))), "the weights expect 7 channels"),
        (lambda: gradients.softmax_backward(SCORES[:1], SCORES, axis=-1), "softmax_backward: expected grad_y of shape"),
        (lambda: gradients.softmax_backward(SCORES, SCORES, axis=4), "softmax_backward: expected arguments that fit"),
        (lambda: attention(TOKENS[:1], TOKENS), r"one shape .*got \(2, 5, 6\) and \(1, 5, 6\)"),
        (
            lambda: attention(TOKENS, TOKENS, np.ones((1, 3, 5, 5))),
            r"mask of shape .*\(2, 3, 5, 5\), got \(1",
        ),
        (lambda: attention(TOKENS, TOKENS, heads=4), "num_heads to divide the 6 channels, got 4"),
        (lambda: scores(SCORES[:, :1]), r"grad_y of shape \(2, 3, 5, 5\).*got \(2, 1, 5, 5\)"),
        (lambda: scores(SCORES[:1]), r"grad_y of shape \(2, num_heads, 5, 5\), got \(1, 3, 5, 5\)"),
        (lambda: gradients.attention_context_backward(TOKENS, SCORES[:1], TOKENS), "expected value of shape"),
        (lambda: gradients.attention_context_backward(TOKENS, SCORES[:, :, :4], TOKENS), "expected grad_y of shape"),
        (
            lambda: gradients.map_tokens_backward(TOKENS, (2, 6, 2, 2)),
            r"grad_y of shape \(2, 4, 6\).*got \(2, 5",
        ),
        (lambda: gradients.map_tokens_backward(TOKENS, (2, 6)), r"expected x of shape \(N, D, H, W\), got \(2, 6\)"),
        (lambda: gradients.positions_map_backward(MAP, (2, 5, 6)), "positions_map_backward: expected"),
        (lambda: gradients.positions_map_backward(MAP[:1], (2, 13, 6)), r"grad_y of shape \(2, 6, 3, 4\).*got \(1, 6"),
        (lambda: gradients.class_token_backward(TOKENS[:, :1], (2, 13, 7)), r"grad_y of shape \(2, 1, 7\).*got \(2, 1"),
        (lambda: gradients.class_token_backward(TOKENS, (2, 4, 6)), "class_token_backward: expected"),
        (lambda: gradients.join_class_token_backward(TOKENS, (3, 1, 6)), "expected grad_y of shape"),
        (lambda: gradients.join_class_token_backward(TOKENS, (2, 2, 6)), "expected cls_token of shape"),
        (lambda: gradients.token_mean_backward(FEATURES[:1], (2, 5, 6)), r"grad_y of shape \(2, 6\).*got \(1, 6\)"),
        (lambda: gradients.global_average_pool_backward(FEATURES[:1], MAP.shape), r"grad_y of shape \(2, 6\).*got \(1"),
        (
            lambda: gradients.global_max_pool_backward(FEATURES, MAP, FEATURES[:1]),
            r"grad_y of one shape \(2, 6\), got",
        ),
        (lambda: gradients.halfway_backward(TOKENS), r"of shape \(N, C\), got grad_y of shape \(2, 5, 6\)"),
        (lambda: gradients.join_features_backward(FEATURES, (2, 7)), r"grad_y of shape \(2, 7\).*got \(2, 6\)"),
        (
            lambda: gradients.join_features_backward(FEATURES, (1, 3)),
            "join_features_backward: expected grad_y of shape",
        ),
    ],
)
def test_refuses(call, message):
    with pytest.raises(InputError, match=message) as refusal:
        call()
    assert "\n" not in str(refusal.value)


def attention(grad_y, tokens, mask=None, heads=3):
    """Go back through attention of tokens over themselves."""
    return gradients.attention_backward(grad_y, tokens, tokens, tokens, mask, num_heads=heads, scale=0.5)


def scores(grad_y):
    """Go back through the scores of tokens for themselves."""
    return gradients.attention_scores_backward(grad_y, TOKENS, TOKENS, num_heads=3, scale=0.5)
