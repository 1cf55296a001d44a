"""Steps computed in fewer bits throughout: the operation where nothing is rounded, and nothing but rounded numbers."""

import numpy as np
import pytest

from npconv.golden.kinds.precision import ROUNDED, levels
from npconv.plan.operations import OPERATIONS


def drawn(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


MAPS = drawn(1, 2, 3, 6, 7)
STEPS = {
    "softmax": ([(drawn(1, 2, 3, 4, 5),)], {"axis": -1}),
    "softmax over maps": ([(MAPS,)], {"axis": 1}),
    "layer_norm": ([(MAPS, drawn(2, 3), drawn(3, 3))], {"eps": 0.5, "axis": 1}),
    "layer_norm of tokens": ([(drawn(1, 2, 4, 3), drawn(2, 3), drawn(3, 3))], {"eps": 0.5, "axis": -1}),
    "batch_norm": ([(MAPS, drawn(2, 3), drawn(3, 3), drawn(4, 3), drawn(5, 3) ** 2)], {"eps": 0.25}),
    "grn_strength": ([(MAPS,)], {}),
    "grn_relative": ([(np.abs(drawn(1, 2, 3, 1, 1)),)], {"eps": 0.5}),
    "grn_apply": ([(MAPS, drawn(2, 2, 3, 1, 1), drawn(3, 3), drawn(4, 3))], {}),
    "depthwise_conv2d": (
        [(MAPS, drawn(2, 3, 1, 3, 2), drawn(3, 3)), (MAPS, drawn(2, 3, 1, 3, 2))],
        {"padding": (1, 2), "stride": (2, 1)},
    ),
    "depthwise_conv2d with gaps": ([(MAPS, drawn(2, 3, 1, 2, 3), drawn(3, 3))], {"dilation": 2, "padding": 1}),
}
CASES = [(name, inputs, settings) for name, (calls, settings) in STEPS.items() for inputs in calls]


def halves(array):
    """Rounded to multiples of 1/8, which shows in every sum."""
    return np.rint(np.asarray(array) * 8) / 8


@pytest.mark.parametrize(("name", "inputs", "settings"), CASES, ids=[name for name, _, _ in CASES])
def test_without_rounding_it_is_the_operation(name, inputs, settings):
    operation = name.split()[0]
    made = ROUNDED[operation](lambda array: array, *inputs, **settings)
    np.testing.assert_allclose(made, OPERATIONS[operation](*inputs, **settings), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("name", "inputs", "settings"), CASES, ids=[name for name, _, _ in CASES])
def test_every_number_on_the_way_is_rounded(name, inputs, settings):
    """So it makes no difference whether what goes in was rounded before, nor whether what comes out is once more."""
    operation = name.split()[0]
    made = ROUNDED[operation](halves, *inputs, **settings)
    np.testing.assert_array_equal(made, halves(made))
    np.testing.assert_array_equal(made, ROUNDED[operation](halves, *map(halves, inputs), **settings))
    assert np.abs(made - OPERATIONS[operation](*inputs, **settings)).max() > 1e-3


def test_all_have_a_case():
    assert {name.split()[0] for name in STEPS} == ROUNDED.keys()


def test_levels_are_255_of_all_of_a_channel_or_along_the_last_axis():
    array = np.array([[[1.0, -127.0], [0.4, 0.0]], [[0.0, 0.0], [0.0, 0.0]]])
    assert levels(None, array).tolist() == [[[1.0, -127.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]]
    along = levels(-1, array)
    np.testing.assert_allclose(along, [[[1.0, -127.0], [0.4, 0.0]], [[0.0, 0.0], [0.0, 0.0]]])
    of_channels = levels(1, array)
    np.testing.assert_allclose(of_channels, [[[1.0, -127.0], [0.4, 0.0]], [[0.0, 0.0], [0.0, 0.0]]])
    assert levels(0, array).tolist() == levels(None, array).tolist()
    assert levels(None, array.astype(np.float32)).dtype == np.float32
