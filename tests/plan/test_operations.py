"""The operations of plans: parts that are the whole layer bit for bit, and wrappers that are what they wrap."""

import numpy as np
import pytest

from npconv import layers
from npconv.images import transforms
from npconv.plan.operations import OPERATIONS

DTYPES = pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])


def numbers(*shape, dtype="float64", seed=0):
    return np.random.default_rng([seed, *shape]).normal(1, 2, shape).astype(dtype)


def assert_same(actual, expected):
    assert actual.dtype == expected.dtype
    assert np.isfinite(expected).all()
    np.testing.assert_array_equal(actual, expected)


@DTYPES
@pytest.mark.parametrize("shape", [(1, 3, 5, 4), (2, 24, 9, 7), (3, 96, 14, 14)])
def test_the_parts_of_grn_are_the_layer(dtype, shape):
    x = numbers(*shape, dtype=dtype)
    weight, bias = (numbers(1, 1, 1, shape[1], dtype=dtype, seed=seed) for seed in (1, 2))
    strength = OPERATIONS["grn_strength"](x)
    relative = OPERATIONS["grn_relative"](strength, eps=1e-6)
    assert strength.shape == relative.shape == (*shape[:2], 1, 1)
    assert strength.dtype == relative.dtype == ("float32" if dtype == "float16" else dtype)
    actual = OPERATIONS["grn_apply"](x, relative, weight, bias)
    assert_same(actual, layers.global_response_norm(x, weight, bias, eps=1e-6))


def test_grn_in_float16_keeps_squares_that_float16_cannot_hold():
    x = np.full((1, 2, 3, 3), 300, np.float16)
    assert_same(OPERATIONS["grn_strength"](x), np.full((1, 2, 1, 1), 900, np.float32))


@DTYPES
@pytest.mark.parametrize(("tokens", "keys", "width", "heads"), [(1, 1, 4, 2), (10, 5, 12, 3), (197, 50, 64, 1)])
def test_the_parts_of_attention_are_the_layer(dtype, tokens, keys, width, heads):
    query = numbers(2, tokens, width, dtype=dtype)
    key, value = (numbers(2, keys, width, dtype=dtype, seed=seed) for seed in (1, 2))
    scores = OPERATIONS["attention_scores"](query, key, num_heads=heads, scale=width**-0.5)
    probabilities = OPERATIONS["softmax"](scores, axis=-1)
    assert scores.shape == probabilities.shape == (2, heads, tokens, keys)
    assert scores.dtype == probabilities.dtype == ("float32" if dtype == "float16" else dtype)
    actual = OPERATIONS["attention_context"](probabilities, value)
    assert_same(actual, layers.attention(query, key, value, num_heads=heads, scale=width**-0.5))


def test_a_map_and_its_tokens():
    x = numbers(2, 3, 4, 5)
    cls_token = numbers(1, 1, 3)
    positions = OPERATIONS["map_tokens"](x)
    joined = OPERATIONS["tokens"](x, cls_token)
    for j in range(2):
        np.testing.assert_array_equal(joined[j, 0], cls_token[0, 0])
        for row, column in np.ndindex(4, 5):
            np.testing.assert_array_equal(positions[j, 5 * row + column], x[j, :, row, column])
    np.testing.assert_array_equal(joined[:, 1:], positions)
    np.testing.assert_array_equal(OPERATIONS["tokens"](x), positions)
    np.testing.assert_array_equal(OPERATIONS["positions_map"](joined, x), x)
    np.testing.assert_array_equal(OPERATIONS["positions_map"](positions, x), x)
    first = OPERATIONS["class_token"](joined, x)
    assert first.shape == (2, 1, 3)
    np.testing.assert_array_equal(OPERATIONS["join_class_token"](first, positions), joined)
    np.testing.assert_array_equal(OPERATIONS["join_class_token"](first[:, 0], positions), joined)
    np.testing.assert_array_equal(OPERATIONS["join_nothing"](positions, joined), positions)


@DTYPES
def test_small_operations(dtype):
    x, y = numbers(2, 3, 4, 5, dtype=dtype), numbers(2, 3, 4, 5, dtype=dtype, seed=1)
    scale = numbers(3, dtype=dtype)
    assert_same(OPERATIONS["residual"](x, y), x + y)
    assert_same(OPERATIONS["layer_scale"](x, scale), x * scale.reshape(1, 3, 1, 1))
    assert_same(OPERATIONS["activation"](x, hidden_act="quick_gelu"), layers.quick_gelu(x))
    tokens = numbers(2, 7, 3, dtype=dtype)
    wide = tokens.astype("float32") if dtype == "float16" else tokens
    assert_same(OPERATIONS["token_mean"](tokens), wide.mean(axis=1).astype(dtype))
    mean, var = numbers(3, dtype=dtype, seed=3), np.abs(numbers(3, dtype=dtype, seed=4))
    expected = layers.batch_norm(x, scale, mean, mean, var, eps=1e-3)
    assert_same(OPERATIONS["batch_norm"](x, scale, mean, mean, var, eps=1e-3), expected)


def test_preprocessing():
    image = np.random.default_rng(0).integers(0, 256, (3, 20, 31), dtype=np.uint8)
    resized = OPERATIONS["resize"](image, height=13, width=17, resample=3)
    np.testing.assert_array_equal(resized, transforms.resize(image, (13, 17), 3))
    cropped = OPERATIONS["center_crop"](resized, height=8, width=11)
    np.testing.assert_array_equal(cropped, transforms.center_crop(resized, (8, 11)))
    rescaled = OPERATIONS["rescale"](cropped, factor=1 / 255)
    np.testing.assert_array_equal(rescaled, transforms.rescale(cropped, 1 / 255))
    normalized = OPERATIONS["normalize"](rescaled, mean=[0.1, 0.2, 0.3], std=[0.5, 0.6, 0.7])
    np.testing.assert_array_equal(normalized, transforms.normalize(rescaled, [0.1, 0.2, 0.3], [0.5, 0.6, 0.7]))
    assert normalized.shape == (3, 8, 11)
