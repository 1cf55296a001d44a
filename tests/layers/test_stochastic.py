"""Drop path and dropout: the mask, the expectation over many draws, and inference."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import naive_layers as naive
from support.rounding import FLOATS, assert_rounded, normal

from npconv.errors import InputError
from npconv.layers import drop, drop_path, drop_path_mask, dropout, dropout_mask

both = pytest.mark.parametrize("function", [drop_path, dropout], ids=lambda function: function.__name__)
masks = pytest.mark.parametrize(
    ("function", "mask_of"), [(drop_path, drop_path_mask), (dropout, dropout_mask)], ids=["drop_path", "dropout"]
)
seeds = st.integers(0, 2**32 - 1)


@both
@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=4),
    st.floats(0, 0.99),
    st.sampled_from(FLOATS),
    st.integers(0, 2**32 - 1),
)
def test_equals_its_naive_twin(function, shape, rate, dtype, seed):
    """The same generator gives the same mask, whatever the dtype."""
    x = normal(seed, *shape, dtype=dtype)
    y = function(x, rate=rate, rng=np.random.default_rng(seed))
    assert y.dtype == dtype
    expected = getattr(naive, function.__name__)(x, rate=rate, rng=np.random.default_rng(seed))
    # The factor 1 / (1 - rate) is rounded in float64, then once more, then multiplied.
    assert_rounded(y, expected, expected, operations=4)


@both
@pytest.mark.parametrize("rate", [0.1, 0.5, 0.85])
def test_the_expectation_is_the_input(function, rate):
    """Over eight seeds.

    The share of kept ones among n draws is more than t away from 1 - rate with a probability of at most
    2 * exp(-2 * n * t**2) (Hoeffding's inequality). t is chosen for a probability of 1e-12.
    """
    seeds, samples = range(8), 20_000
    draws = np.concatenate([function(np.ones((samples, 1)), rate=rate, rng=np.random.default_rng(s)) for s in seeds])
    t = math.sqrt(math.log(2e12) / (2 * draws.size))
    assert abs(draws.mean() - 1) <= t / (1 - rate)
    assert set(np.unique(draws)) == {0.0, 1 / (1 - rate)}


def test_drop_path_drops_samples_and_dropout_single_elements():
    x = np.ones((64, 3, 4, 5))
    paths = drop_path(x, rate=0.5, rng=np.random.default_rng(0)).reshape(64, -1)
    assert ((paths == 0).all(axis=1) | (paths == 2).all(axis=1)).all()
    assert 0 < (paths[:, 0] == 0).sum() < 64  # the chance of all alike is 1e-19
    elements = dropout(x, rate=0.5, rng=np.random.default_rng(0)).reshape(64, -1)
    assert not ((elements == 0).all(axis=1) | (elements == 2).all(axis=1)).any()


@both
def test_inference_returns_the_input_itself(function):
    x = normal(0, 2, 3)
    assert function(x, rate=0.7, rng=None) is x
    rng = np.random.default_rng(0)
    assert function(x, rate=0.0, rng=rng) is x
    assert rng.random() == np.random.default_rng(0).random(), "rate 0 draws nothing"


@both
@pytest.mark.parametrize("dtype", FLOATS)
def test_rate_one_drops_everything_without_a_warning(function, dtype):
    y = function(normal(0, 5, 3, dtype=dtype), rate=1.0, rng=np.random.default_rng(0))
    assert y.dtype == dtype
    assert not y.any()


@both
def test_each_call_draws_anew(function):
    x, rng = np.ones((200, 1)), np.random.default_rng(0)
    assert (function(x, rate=0.5, rng=rng) != function(x, rate=0.5, rng=rng)).any()  # alike with a chance of 1e-60


@masks
@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.floats(0, 1), st.sampled_from(FLOATS), seeds)
def test_a_mask_drops_what_the_layer_drops(function, mask_of, shape, rate, dtype, seed):
    """The mask by itself, and the layer with the same generator, to the bit."""
    x = normal(seed, *shape, dtype=dtype)
    mask = mask_of(x, rate=rate, rng=np.random.default_rng(seed))
    assert mask.shape == (x.shape[:1] if function is drop_path else x.shape)
    assert mask.dtype == ("float32" if dtype == "float16" else dtype)
    assert set(np.unique(mask)) <= {0, (1 / (1 - rate) if rate < 1 else 0) * np.ones((), mask.dtype)}
    expected = function(x, rate=rate, rng=np.random.default_rng(seed))
    np.testing.assert_array_equal(drop(x, mask), expected)
    assert drop(x, mask).dtype == dtype


@pytest.mark.parametrize("shape", [(3,), (1,), (2, 1), (3, 2), (2, 3, 1), ()])
def test_a_mask_of_another_shape_is_refused(shape):
    """Also one that could be stretched."""
    with pytest.raises(InputError, match=r"drop: expected a mask of shape \(2,\) or \(2, 3\), got ") as refusal:
        drop(np.ones((2, 3)), np.ones(shape))
    assert "\n" not in str(refusal.value)


@masks
@pytest.mark.parametrize("rate", [-0.1, 1.1, math.nan, math.inf])
def test_a_mask_refuses_what_is_no_probability(function, mask_of, rate):
    with pytest.raises(InputError, match=f"{mask_of.__name__}: expected a rate from 0 to 1, got {rate}"):
        mask_of(np.ones((2, 3)), rate=rate, rng=np.random.default_rng(0))


@both
@pytest.mark.parametrize("rate", [-0.1, 1.1, math.nan, math.inf])
@pytest.mark.parametrize("rng", [None, np.random.default_rng(0)], ids=["inference", "training"])
def test_refuses_what_is_no_probability(function, rate, rng):
    with pytest.raises(InputError, match=f"{function.__name__}: expected a rate from 0 to 1, got {rate}"):
        function(np.ones((2, 3)), rate=rate, rng=rng)


@both
def test_refuses_integers_in_training(function):
    with pytest.raises(InputError, match="expected a floating-point array, got int64"):
        function(np.arange(6).reshape(2, 3), rate=0.5, rng=np.random.default_rng(0))
