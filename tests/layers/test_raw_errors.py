"""Nothing that a layer is given raises an error of NumPy's; a softmax over no scores is none, as in PyTorch."""

from __future__ import annotations

import inspect
import warnings
from contextlib import suppress

import numpy as np
import pytest

from npconv import layers
from npconv.errors import InputError, NpconvError

FUNCTIONS = [name for name in layers.__all__ if inspect.isfunction(getattr(layers, name))]

SHAPES = [
    (),
    (0,),
    (4,),
    (2, 0),
    (0, 3),
    (2, 3),
    (1, 7, 4),
    (1, 1, 4),
    (1, 4, 5, 5),
    (0, 4, 5, 5),
    (1, 0, 5, 5),
    (4, 1, 3, 3),
]
OTHERS = [3, None, "x", [1.0, 2.0], np.array([1, "a"], object), np.ones(3, complex), np.ones((2, 3), bool)]
NUMBERS = [1, 0, -1, 2, 3.5, None, "gelu", (1, 2), (1, 2, 3), [1, 1], 1e-6, np.nan, True, 2**70, np.ones((2, 2))]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_arguments_that_make_no_sense_are_refused_by_the_layer(name):
    function = getattr(layers, name)
    rng = np.random.default_rng(len(name))
    arrays = [np.ones(shape, np.float32) for shape in SHAPES] + OTHERS
    parameters = inspect.signature(function).parameters.values()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(400):
            given = {}
            for parameter in parameters:
                if parameter.default is parameter.empty or rng.random() < 0.5:
                    choice = NUMBERS if parameter.kind is parameter.KEYWORD_ONLY else arrays
                    given[parameter.name] = choice[rng.integers(len(choice))]
            with suppress(NpconvError):
                function(**given)


def test_what_is_missing_is_pythons_to_say():
    for function in (layers.layer_norm, layers.layer_scale, layers.softmax, layers.attention_scores):
        with pytest.raises(TypeError, match="missing"):
            function(np.ones((1, 2, 3), np.float32))


@pytest.mark.parametrize("shape", [(2, 0), (0,), (0, 3), (2, 0, 4)])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_softmax_over_no_scores_is_none(shape, dtype):
    for axis in range(-len(shape), len(shape)):
        found = layers.softmax(np.ones(shape, dtype), axis=axis)
        assert (found.shape, found.dtype) == (shape, dtype)


def test_an_axis_that_is_not_there_is_refused():
    for axis in (2, -3, "x", 1.5):
        with pytest.raises(InputError, match="softmax: expected"):
            layers.softmax(np.ones((2, 3)), axis=axis)
