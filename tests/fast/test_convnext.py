from contextlib import nullcontext

import numpy as np
import pytest
from support.fast_models import BARE_MODELS, CONFIGS, LEAST_BOUND, SLACK, distance, pictures, tiny_blocks, weights

from npconv.errors import InputError
from npconv.fast.engine import Scratch, SharedScratch
from npconv.fast.products import GROUP_VALUES
from npconv.models import convnext, convnextv2
from npconv.models.convnext.fast import ConvNextTrunk, fold_trunk
from npconv.models.parameters import map_tree, nest

pytestmark = pytest.mark.long

FAMILIES = pytest.mark.parametrize(("family", "module"), [("convnext", convnext), ("convnextv2", convnextv2)])
FIELDS = {"hidden_sizes": [8, 12, 10], "depths": [1, 2, 1], "num_stages": 3, "patch_size": 2}


def make(family, **changes):
    """Return a configuration and random parameters."""
    config = CONFIGS[family](**{**FIELDS, **changes})
    return config, nest(weights(BARE_MODELS[family], config))


def trunk(config, params):
    grn_eps = convnextv2.GRN_EPS if config.model_type == "convnextv2" else 0.0
    return ConvNextTrunk(config, **fold_trunk(config, params["embeddings"], params["encoder"]), grn_eps=grn_eps)


def explicit(module, config, params, x, dtype):
    params = map_tree(lambda array: array.astype(dtype), params)
    return module.model(x.astype(dtype), **params, config=config)[1]


def check(module, config, params, x, maps):
    """Assert that maps are about as near to the truth as those of the explicit functions in float32."""
    truth = explicit(module, config, params, x, np.float64)
    float32 = explicit(module, config, params, x, np.float32)
    bound = max(SLACK * max(map(distance, float32, truth)), LEAST_BOUND)
    assert len(maps) == len(truth)
    for actual, expected in zip(maps, truth, strict=True):
        assert distance(actual, expected) <= bound


@FAMILIES
@pytest.mark.parametrize("batch", [1, 2, 3, 8])
@pytest.mark.parametrize("tiny", [False, True])
def test_the_maps_of_all_stages(family, module, batch, tiny):
    config, params = make(family)
    x = pictures((batch, 3, 27, 34))
    if tiny:
        with tiny_blocks():
            maps = trunk(config, params)(x, Scratch())
    else:
        maps = trunk(config, params)(x, Scratch())
    check(module, config, params, x, maps)


def test_groups_of_pictures_of_their_real_size():
    """28 x 28 maps of 200 channels: two pictures a group, so three make a whole group and one picture."""
    config, params = make("convnext", hidden_sizes=[200], depths=[1], num_stages=1, patch_size=4)
    assert 200 * 28 * 28 * 2 <= GROUP_VALUES < 200 * 28 * 28 * 3
    x = pictures((3, 3, 112, 112))
    check(convnext, config, params, x, trunk(config, params)(x, Scratch()))


#: What timm has in the trunk and transformers has not.
VARIANTS = {
    "overlap": {"stem_type": "overlap", "patch_size": 4},
    "overlap_tiered": {"stem_type": "overlap_tiered", "patch_size": 4, "hidden_sizes": [24, 12, 10]},
    "overlap_act": {"stem_type": "overlap_act", "patch_size": 4},
    "overlap_act, no polynomial": {"stem_type": "overlap_act", "patch_size": 4, "hidden_act": "mish"},
    "kernel_sizes": {"kernel_sizes": [3, 9, 5]},
    "norm_eps": {"norm_eps": 0.3},
}


@FAMILIES
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("tiny", [False, True])
@pytest.mark.parametrize("threads", [1, 2])
def test_the_maps_of_a_variant(family, module, variant, tiny, threads):
    config, params = make(family, **VARIANTS[variant])
    x, engine = pictures((3, 3, 27, 34)), trunk(config, params)
    scratch = SharedScratch(threads) if threads > 1 else Scratch()
    with tiny_blocks() if tiny else nullcontext():
        check(module, config, params, x, engine(x, scratch))
        check(module, config, params, x[:1], engine(x[:1], scratch))
        check(module, config, params, x, engine(x, scratch))


@pytest.mark.parametrize("variant", ["overlap", "overlap_act"])
def test_scratch_of_an_overlapping_stem_is_planned_once(variant):
    config, params = make("convnext", **VARIANTS[variant])
    engine, scratch, x = trunk(config, params), Scratch(), pictures((2, 3, 33, 20))
    first = engine(x, scratch)[0].copy()
    planned = scratch.nbytes
    np.testing.assert_array_equal(engine(x, scratch)[0], first)
    assert scratch.nbytes == planned


@FAMILIES
def test_results_are_no_scratch_and_survive_the_next_call(family, module):
    config, params = make(family, depths=[0, 1, 0])
    engine, scratch = trunk(config, params), Scratch()
    first = engine(pictures((2, 3, 20, 20), seed=1), scratch)
    kept = [x.copy() for x in first]
    engine(pictures((2, 3, 20, 20), seed=2), scratch)
    for x, copy in zip(first, kept, strict=True):
        np.testing.assert_array_equal(x, copy)
    for one in range(len(first)):
        for other in range(one):
            assert not np.shares_memory(first[one], first[other])


@FAMILIES
def test_scratch_is_planned_once_for_a_shape(family, module):
    config, params = make(family)
    engine, scratch, x = trunk(config, params), Scratch(), pictures((2, 3, 33, 20))
    engine(x, scratch)
    planned = scratch.nbytes
    engine(x, scratch)
    assert 0 < planned == scratch.nbytes


@FAMILIES
def test_pictures_that_do_not_fit_are_refused(family, module):
    engine = trunk(*make(family))
    for shape in ((1, 4, 20, 20), (3, 20, 20), (1, 3, 7, 20), (1, 3, 20, 7), (1, 3, 0, 0)):
        with pytest.raises(InputError, match=r"expected pi(xel_values|ctures)"):
            engine(np.zeros(shape, np.float32), Scratch())
