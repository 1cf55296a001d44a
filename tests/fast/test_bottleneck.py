import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from support.fast_models import HIDDEN_ACTS, bound_of, distance, tiny_blocks

from npconv.fast import bottleneck
from npconv.fast.bottleneck import Bottleneck, fold_bottleneck
from npconv.fast.engine import Scratch, SharedScratch
from npconv.layers import activation, global_response_norm, layer_norm, pointwise_conv2d
from npconv.models.parameters import map_tree
from weights_tools.goldens import draw


def parameters(channels, hidden, *, grn=False, layer_scale=False):
    """Return random parameters of a block, float16 numbers."""
    shapes = {
        **{"layernorm.weight": (channels,), "layernorm.bias": (channels,)},
        **{"pwconv1.weight": (hidden, channels), "pwconv1.bias": (hidden,)},
        **{"pwconv2.weight": (channels, hidden), "pwconv2.bias": (channels,)},
        **({"grn.weight": (1, 1, 1, hidden), "grn.bias": (1, 1, 1, hidden)} if grn else {}),
        **({"layer_scale_parameter": (channels,)} if layer_scale else {}),
    }
    tree = {}
    for name, value in draw.weights(draw.generator(channels, "bottleneck"), shapes.items()).items():
        layer, _, part = name.partition(".")
        tree |= {layer: {**tree.get(layer, {}), part: value}} if part else {layer: value}
    return tree


def explicit(x, d, params, hidden_act, dtype):
    """Return what the explicit layers make of x and d (N, C, H, W)."""
    params = map_tree(lambda array: array.astype(dtype), params)
    y = layer_norm(d.astype(dtype), **params["layernorm"], eps=1e-6, axis=1)
    y = activation(hidden_act)(pointwise_conv2d(y, **params["pwconv1"]))
    y = global_response_norm(y, **params["grn"], eps=1e-6) if "grn" in params else y
    y = pointwise_conv2d(y, **params["pwconv2"])
    return x.astype(dtype) + y * params.get("layer_scale_parameter", np.ones(x.shape[1], dtype))[:, None, None]


def check(x, d, params, hidden_act, scratch):
    """Assert that the tiled bottleneck is about as near to the truth as the explicit layers in float32."""
    truth = explicit(x, d, params, hidden_act, np.float64)
    bound = bound_of(lambda tree, dtype: [explicit(x, d, tree, hidden_act, dtype)], params)
    block = Bottleneck(
        **fold_bottleneck(**params, hidden_act=hidden_act), hidden_act=hidden_act, norm_eps=1e-6, grn_eps=1e-6
    )
    channels_first = [np.ascontiguousarray(a.transpose(1, 0, 2, 3)).reshape(a.shape[1], len(a), -1) for a in (x, d)]
    channels_first[1].flags.writeable = False
    with np.errstate(over="ignore", under="ignore"):
        block(*channels_first, scratch)
    actual = channels_first[0].reshape(x.shape[1], len(x), *x.shape[2:]).transpose(1, 0, 2, 3)
    assert distance(actual, truth) <= bound


@given(
    channels=st.integers(8, 30),  # LayerNorm of very few channels amplifies rounding, and by luck
    ratio=st.sampled_from([0.5, 1.7, 4.0]),
    shape=st.tuples(st.integers(1, 4), st.integers(1, 6), st.integers(1, 6)),
    hidden_act=st.sampled_from(HIDDEN_ACTS),
    grn=st.booleans(),
    layer_scale=st.booleans(),
    threads=st.integers(1, 3),
    tiny=st.booleans(),
)
def test_tiles_are_the_layers(channels, ratio, shape, hidden_act, grn, layer_scale, threads, tiny):
    batch, height, width = shape
    params = parameters(channels, int(channels * ratio), grn=grn, layer_scale=layer_scale)
    rng = draw.generator(1, "inputs")
    x, d = (draw.pixel_values(rng, (batch, channels, height, width)).astype(np.float32) for _ in range(2))
    scratch = SharedScratch(threads) if threads > 1 else Scratch()
    if tiny:
        with tiny_blocks():
            check(x, d, params, hidden_act, scratch)
    else:
        check(x, d, params, hidden_act, scratch)


class Alone(Scratch):
    """Of two threads, the one that does the work of both: the other has not come."""

    threads = 2


@pytest.mark.parametrize("grn", [False, True])
@pytest.mark.parametrize("side", [4, 30])
def test_a_thread_that_does_the_rows_of_both_keeps_what_they_give(grn, side):
    params = parameters(24, 96, grn=grn)
    rng = draw.generator(4, "inputs")
    x, d = (draw.pixel_values(rng, (1, 24, side, side)).astype(np.float32) for _ in range(2))
    check(x, d, params, "gelu", Alone())


@pytest.mark.parametrize("grn", [False, True])
@pytest.mark.parametrize(("channels", "side"), [(16, 57), (96, 21), (192, 7)])
def test_tiles_of_their_real_size(channels, side, grn):
    """Several tiles a picture, one, and several pictures a tile."""
    params = parameters(channels, 4 * channels, grn=grn)
    rng = draw.generator(2, "inputs")
    x, d = (draw.pixel_values(rng, (3, channels, side, side)).astype(np.float32) for _ in range(2))
    tile = max(bottleneck.LEAST_TILE, bottleneck.TILE_VALUES // (4 * channels))
    assert (side * side > tile) == (side != 7)
    check(x, d, params, "gelu", Scratch())


@pytest.mark.parametrize("hidden_act", ["gelu", "relu"])
@pytest.mark.parametrize("tiny", [False, True])
def test_a_picture_without_response_has_no_grn(hidden_act, tiny):
    """The strengths are 0, and 0 by 1e-6 is 0: no division by zero."""
    params = parameters(6, 24, grn=True)
    params["pwconv1"] = map_tree(np.zeros_like, params["pwconv1"])
    x = draw.pixel_values(draw.generator(3, "inputs"), (2, 6, 3, 4)).astype(np.float32)
    with np.errstate(all="raise"):
        check(x, x, params, hidden_act, Scratch()) if not tiny else None
        with tiny_blocks():
            check(x, x, params, hidden_act, Scratch())


def test_weak_responses_are_compared_with_the_epsilon():
    """Hidden values are scaled inside; the epsilon of GRN must not be."""
    params = parameters(6, 24, grn=True)
    params["pwconv1"] = map_tree(lambda array: (array * 2.0**-12).astype(np.float16), params["pwconv1"])
    x = draw.pixel_values(draw.generator(4, "inputs"), (1, 6, 2, 2)).astype(np.float32)
    check(x, x, params, "gelu", Scratch())


def test_statistics_are_those_of_each_picture():
    params = parameters(8, 32, grn=True)
    x = draw.pixel_values(draw.generator(5, "inputs"), (3, 8, 3, 3)).astype(np.float32)
    x[1] *= 20
    block = Bottleneck(**fold_bottleneck(**params, hidden_act="gelu"), hidden_act="gelu", norm_eps=1e-6, grn_eps=1e-6)

    def run(part):
        out = np.ascontiguousarray(part.transpose(1, 0, 2, 3)).reshape(8, len(part), -1)
        block(out, out.copy(), Scratch())
        return out

    np.testing.assert_allclose(
        run(x)[:, :1], run(x[:1]), rtol=1e-5, atol=1e-5
    )  # other sizes of product round otherwise
