import numpy as np
import pytest
from support.fast_models import BARE_MODELS, bound_of, distance, pictures, tiny_blocks, weights

import npconv
from npconv.errors import ConfigError, InputError
from npconv.fast.engine import Scratch
from npconv.models import cvt
from npconv.models.cvt.fast import CvtTrunk, fold_trunk
from npconv.models.parameters import map_tree, nest

FIELDS = {"embed_dim": [6, 12, 12], "num_heads": [1, 2, 3], "depth": [1, 0, 2], "patch_stride": [2, 2, 1]}


def make(**changes):
    """Return a configuration and random parameters."""
    config = npconv.CvtConfig(**{**FIELDS, **changes})
    return config, nest(weights(BARE_MODELS["cvt"], config))


def make_trunk(config, params):
    return CvtTrunk(config, **fold_trunk(config, params["encoder"]))


def check(config, params, x, result):
    """Assert that a result is about as near to the truth as that of the explicit functions in float32."""

    def explicit(params, dtype):
        wide = map_tree(lambda array: array.astype(dtype), params)
        cls_token, maps = cvt.model(x.astype(dtype), **wide, config=config)
        return maps if cls_token is None else [*maps, cls_token]

    truth = explicit(params, np.float64)
    bound = bound_of(explicit, params)
    found = result[1] if result[0] is None else [*result[1], result[0]]
    assert len(found) == len(truth)
    for actual, expected in zip(found, truth, strict=True):
        assert distance(actual, expected) <= bound


@pytest.mark.parametrize("batch", [1, 2, 3, 8])
@pytest.mark.parametrize("tiny", [False, True])
@pytest.mark.parametrize("cls_token", [[False, False, True], [False, True, False], [False, False, False]])
def test_the_maps_of_all_stages_and_the_class_token(batch, tiny, cls_token):
    config, params = make(cls_token=cls_token)
    trunk, x = make_trunk(config, params), pictures((batch, 3, 21, 30))
    if tiny:
        with tiny_blocks():
            result = trunk(x, Scratch())
    else:
        result = trunk(x, Scratch())
    assert (result[0] is None) == (not cls_token[-1])
    check(config, params, x, result)


def test_results_are_no_scratch_and_survive_the_next_call():
    config, params = make()
    trunk, scratch = make_trunk(config, params), Scratch()
    cls_token, maps = trunk(pictures((2, 3, 20, 20), seed=1), scratch)
    kept = [x.copy() for x in (cls_token, *maps)]
    trunk(pictures((2, 3, 20, 20), seed=2), scratch)
    for x, copy in zip((cls_token, *maps), kept, strict=True):
        np.testing.assert_array_equal(x, copy)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"stride_q": [1, 1, 2]}, "stride_q 1 and padding_q .* got 2 and 1 for 3 in stage 2"),
        ({"padding_q": [0, 1, 1]}, "stride_q 1 and padding_q .* got 1 and 0 for 3 in stage 0"),
        ({"kernel_qkv": [3, 2, 3]}, "stride_q 1 and padding_q .* got 1 and 1 for 2 in stage 1"),
    ],
)
def test_queries_at_other_places_than_the_positions_are_refused_when_it_is_made(changes, named):
    config, params = make(**changes)
    with pytest.raises(ConfigError, match=f"engine 'fast' expects {named}; use engine='explicit'"):
        make_trunk(config, params)


def test_without_a_convolution_the_place_of_queries_is_not_asked_for():
    config, params = make(stride_q=[2, 2, 2], qkv_projection_method=["avg", "dw_bn", "linear"], depth=[1, 0, 1])
    config.stride_q[1] = 1
    x = pictures((1, 3, 20, 20))
    check(config, params, x, make_trunk(config, params)(x, Scratch()))


@pytest.mark.parametrize("shape", [(1, 3, 2, 20), (1, 3, 20, 2), (2, 3, 0, 0)])
def test_pictures_smaller_than_the_first_window_are_refused(shape):
    config, params = make()
    trunk = make_trunk(config, params)
    for run in (lambda x: trunk(x, Scratch()), lambda x: cvt.model(x, **params, config=config)):
        with pytest.raises(InputError, match="a 7 x 7 window does not fit"):
            run(np.zeros(shape, np.float32))
