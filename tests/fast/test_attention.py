import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from support.fast_models import bound_of, cvt_configs, distance, tiny_blocks

import npconv
from npconv.errors import InputError
from npconv.fast.engine import Scratch, SharedScratch
from npconv.layers import linear
from npconv.models import cvt
from npconv.models.cvt.fast_attention import ConvolutionalAttention, fold_attention
from npconv.models.parameters import map_tree, nest
from weights_tools.goldens import draw


def parameters(config, stage_index):
    """Return random parameters of the attention of a block."""
    shapes = cvt.layer_shapes("layer", config, stage_index)
    return nest(draw.weights(draw.generator(1, "attention"), shapes.items()))["layer"]["attention"]


def explicit(tokens, size, params, config, stage_index, dtype):
    """Return what the explicit layers add to normalized tokens (N, T, D), the class token first."""
    params = map_tree(lambda array: array.astype(dtype), params)
    x = cvt.self_attention(tokens.astype(dtype), *size, **params["attention"], config=config, stage_index=stage_index)
    return linear(x, **params["output"]["dense"])


def fast(tokens, size, params, config, stage_index, scratch):
    """Return the same of the fast engine, whose class token is the last column."""
    positions = size[0] * size[1]
    extra = tokens.shape[1] - positions
    columns = np.ascontiguousarray(np.roll(tokens, -extra, axis=1).transpose(2, 0, 1))
    columns.flags.writeable = False
    x = np.zeros_like(columns)
    attention = ConvolutionalAttention(
        **fold_attention(params, config, stage_index), config=config, stage_index=stage_index
    )
    attention(columns, size, x, scratch)
    return np.roll(x.transpose(1, 2, 0), extra, axis=1)


def check(tokens, size, params, config, stage_index, scratch):
    """Assert that the fast attention is about as near to the truth as the explicit layers in float32."""
    bound = bound_of(lambda tree, dtype: [explicit(tokens, size, tree, config, stage_index, dtype)], params)
    truth = explicit(tokens, size, params, config, stage_index, np.float64)
    assert distance(fast(tokens, size, params, config, stage_index, scratch), truth) <= bound


@given(
    config=cvt_configs(),
    batch=st.integers(1, 3),
    size=st.tuples(st.integers(5, 9), st.integers(5, 9)),  # kernels of 5 fit
    scale=st.sampled_from([0.25, 1.0, 8.0]),
    threads=st.integers(1, 3),
    tiny=st.booleans(),
)
def test_attention_is_that_of_the_layers(config, batch, size, scale, threads, tiny):
    """At 8 times their usual size, queries attend to single keys."""
    for stage_index, width in enumerate(config.embed_dim):
        tokens = size[0] * size[1] + config.cls_token[stage_index]
        rng = draw.generator(2, "tokens")
        x = scale * draw.pixel_values(rng, (batch, tokens, width)).astype(np.float32)
        scratch = SharedScratch(threads) if threads > 1 else Scratch()
        arguments = x, size, parameters(config, stage_index), config, stage_index, scratch
        if tiny:
            with tiny_blocks():
                check(*arguments)
        else:
            check(*arguments)


def test_many_keys():
    """More scores than are worked on at a time, without the tests' own blocks."""
    config = npconv.CvtConfig(depth=[1], embed_dim=[12], num_heads=[3], cls_token=[True], stride_kv=[1])
    x = draw.pixel_values(draw.generator(3, "tokens"), (1, 31 * 23 + 1, 12)).astype(np.float32)
    check(x, (31, 23), parameters(config, 0), config, 0, Scratch())


@pytest.mark.parametrize("offset", [0.0, 100.0, -1e4])
def test_scores_far_from_zero_do_not_overflow(offset):
    """2**s of a score of 1000 is beyond float32; the largest is subtracted first."""
    config = npconv.CvtConfig(
        depth=[1], embed_dim=[4], num_heads=[1], cls_token=[False], qkv_projection_method=["linear"]
    )
    params = parameters(config, 0)
    params["attention"]["projection_query"]["weight"][...] = 0
    params["attention"]["projection_query"]["bias"][...] = offset
    x = draw.pixel_values(draw.generator(4, "tokens"), (1, 12, 4)).astype(np.float32)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        check(x, (3, 4), params, config, 0, Scratch())


@pytest.mark.parametrize("method", ["dw_bn", "avg"])
def test_a_window_that_does_not_fit_is_refused_as_by_the_layers(method):
    config = npconv.CvtConfig(
        depth=[1],
        embed_dim=[4],
        num_heads=[1],
        cls_token=[False],
        qkv_projection_method=[method],
        kernel_qkv=[5],
        padding_q=[2],
        padding_kv=[0],
    )
    x = np.ones((1, 12, 4), np.float32)
    for run in (
        lambda: explicit(x, (3, 4), parameters(config, 0), config, 0, np.float32),
        lambda: fast(x, (3, 4), parameters(config, 0), config, 0, Scratch()),
    ):
        with pytest.raises(InputError, match="a 5 x 5 window does not fit into a 3 x 4 map"):
            run()
