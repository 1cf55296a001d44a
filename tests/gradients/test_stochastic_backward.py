"""Drop path and dropout backwards: the mask of the forward pass, at every step of the differences."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from support.gradient_cases import assert_is_gradient, numbers
from support.layer_cases import Case

from npconv import gradients, layers
from npconv.errors import InputError

both = pytest.mark.parametrize("layer", [layers.drop_path, layers.dropout], ids=lambda layer: layer.__name__)


@both
@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.sampled_from([0.1, 0.5, 1.0]), st.integers(0, 999))
def test_what_was_dropped_gets_no_gradient_and_the_rest_is_scaled(layer, shape, rate, seed):
    assert_is_gradient(Case("", layer, {"x": numbers(seed, *shape)}, {"rate": rate}, seed=seed), seed)


@both
def test_the_gradient_is_dropped_as_the_array_was(layer):
    x = numbers(0, 7, 2, 3)
    mask = getattr(layers, f"{layer.__name__}_mask")(x, rate=0.5, rng=np.random.default_rng(3))
    backward = getattr(gradients, f"{layer.__name__}_backward")
    np.testing.assert_array_equal(backward(x, mask), layer(x, rate=0.5, rng=np.random.default_rng(3)))


@both
@pytest.mark.parametrize("shape", [(3,), (1,), (2, 1), (3, 2), ()])
def test_a_mask_of_another_shape_is_refused(layer, shape):
    backward = getattr(gradients, f"{layer.__name__}_backward")
    with pytest.raises(InputError, match=r"expected a mask of shape \(2,\) or \(2, 3\), got ") as refusal:
        backward(np.ones((2, 3)), np.ones(shape))
    assert "\n" not in str(refusal.value)
