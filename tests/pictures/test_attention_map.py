"""Where a position looks, against attention in plain loops; and the kernels of a layer."""

from __future__ import annotations

import math

import numpy as np
import pytest
from support.builders import BARE_MODELS, CLASSIFIERS, CONFIGS, pictures
from support.fast_models import weights

import npconv
from npconv.golden import trace
from npconv.pictures import attention_map, kernels
from npconv.pictures.heatmap import Heatmap

FIELDS = {
    "strided keys": {},
    "no class token": {"cls_token": [False, False, False]},
    "keys of all positions": {"stride_kv": [1, 1, 1]},
    "averaged and linear": {"qkv_projection_method": ["avg", "linear", "avg"]},
}


def made(config, **options):
    """Return a classifier with random parameters, none without effect."""
    model_class = CLASSIFIERS[config.model_type]
    return model_class(config, weights(model_class, config), **options)


MODELS = {
    name: made(npconv.CvtConfig(**{**CONFIGS["cvt"].to_dict(), **fields}), dtype="float64")
    for name, fields in FIELDS.items()
}
BLOCKS = [(stage, block) for stage, depth in enumerate(CONFIGS["cvt"].depth) for block in range(depth)]
X = pictures(height=40, width=27, dtype="float64")


def by_hand(arrays, name, scale, query, head, heads):
    """Return the attention of a query to each key for the first picture, one number at a time."""
    queries, keys = (arrays[f"{name}.projection_{part}"][0] for part in ("query", "key"))
    width = queries.shape[1] // heads
    channels = range(head * width, (head + 1) * width)
    found = [math.exp(scale * sum(queries[query, c] * key[c] for c in channels)) for key in keys]
    return [one / sum(found) for one in found]


@pytest.mark.parametrize(("stage", "block"), BLOCKS)
@pytest.mark.parametrize("name", MODELS)
def test_a_position_looks_where_a_direct_computation_says(name, stage, block):
    model = MODELS[name]
    config = model.config
    with trace() as arrays:
        model(X)
    attention = f"cvt.encoder.stages.{stage}.layers.{block}.attention.attention"
    heads, has_token = config.num_heads[stage], config.cls_token[stage]
    height, width = arrays[f"{attention}.map"].shape[2:]
    assert height != width
    positions = [(0, 0), (0, width - 1), (height - 1, 0)] + ([None] if has_token else [])
    for position in positions:
        query = 0 if position is None else has_token + position[0] * width + position[1]
        for head in range(heads):
            row = by_hand(arrays, attention, config.embed_dim[stage] ** -0.5, query, head, heads)
            found = attention_map(model, X, position, stage, block, head=head)[0]
            assert found.size == len(row) - has_token
            # sums of a few products in float64, in another order
            np.testing.assert_allclose(found.reshape(-1), row[has_token:], rtol=1e-11)
            np.testing.assert_allclose(found.sum() + sum(row[:has_token]), 1, rtol=1e-12)
        mean = attention_map(model, X, position, stage, block)
        each = [attention_map(model, X, position, stage, block, head=head) for head in range(heads)]
        np.testing.assert_allclose(mean, sum(each) / heads, rtol=1e-12)


def test_the_map_has_the_height_and_width_of_the_keys():
    """Those of the whole map would be one row and column off: sizes are rounded up by strides."""
    assert attention_map(MODELS["strided keys"], X, (0, 0), 0).shape == (2, 10, 7)
    assert attention_map(MODELS["keys of all positions"], X, (0, 0), 0).shape == (2, 19, 13)


def test_a_position_that_looks_at_one_place_is_seen_to_do_so():
    """With keys that are large at one place of the photo, all positions look there."""
    config = npconv.CvtConfig(
        embed_dim=[4],
        num_heads=[1],
        depth=[1],
        patch_stride=[1],
        patch_sizes=[1],
        patch_padding=[0],
        cls_token=[False],
        num_labels=2,
        mlp_ratio=[1.0],
        drop_rate=[0.0],
        attention_drop_rate=[0.0],
        drop_path_rate=[0.0],
        qkv_bias=[True],
        qkv_projection_method=["linear"],
        kernel_qkv=[1],
        padding_kv=[0],
        stride_kv=[1],
        padding_q=[0],
        stride_q=[1],
    )
    model = npconv.CvtForImageClassification(config, dtype="float64")
    state = model.state_dict()
    for name in state:
        if "projection_query.weight" in name or "projection_key.weight" in name:
            state[name][...] = 20 * np.eye(4)
    x = np.zeros((1, 3, 5, 7))
    x[0, :, 3, 1] = 1
    found = attention_map(model, x, (3, 1))[0]
    assert np.unravel_index(found.argmax(), found.shape) == (3, 1)
    assert found.max() > 0.9


def test_it_is_a_picture_in_the_dtype_of_the_model_and_nothing_is_written_to():
    model = made(CONFIGS["cvt"], dtype="float32")
    x = X.astype("float32")
    before = x.copy()
    found = attention_map(model.train(), x, (1, 2))
    assert isinstance(found, Heatmap)
    assert found.dtype == np.float32
    assert model.training
    np.testing.assert_array_equal(found, attention_map(model.eval(), x, (1, 2)))
    np.testing.assert_array_equal(x, before)
    bare = npconv.CvtModel(
        CONFIGS["cvt"], {k.removeprefix("cvt."): v for k, v in model.state_dict().items() if k.startswith("cvt.")}
    )
    np.testing.assert_array_equal(attention_map(bare, x, (1, 2)), found)


def test_attention_of_a_device_stays_there(device_stub):
    there = made(CONFIGS["cvt"], dtype="float32", device="stub")
    x = X.astype("float32")
    x_there = device_stub.asarray(x)
    device_stub.ledger.clear()
    found = attention_map(there, x_there, (1, 1), 0)
    assert device_stub.ledger.to_host == 0
    np.testing.assert_array_equal(found.get(), attention_map(made(CONFIGS["cvt"], dtype="float32"), x, (1, 1), 0))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"stage": 3}, "expected a stage from 0 to 2, or from -1 back; got 3"),
        ({"stage": -4}, "expected a stage from 0 to 2"),
        ({"stage": True}, "expected a stage from 0 to 2"),
        ({"block": 2}, "expected a block from 0 to 1, or from -1 back; got 2"),
        ({"stage": 0}, r"expected a position \(row, column\), as the stage has no class token; got None"),
        (
            {"position": (3, 0)},
            r"expected a position \(row, column\) of a map with 3 x 2, counted from 0; got \(3, 0\)",
        ),
        ({"position": (0, 2)}, "of a map with 3 x 2"),
        ({"position": (-1, 0)}, "of a map with 3 x 2"),
        ({"position": (0.0, 1)}, "of a map with 3 x 2"),
        ({"position": 4}, "of a map with 3 x 2"),
        ({"position": (0, 1, 1)}, "of a map with 3 x 2"),
        ({"head": 3}, "expected a head from 0 to 2, or None for their mean; got 3"),
        ({"head": -1}, "expected a head from 0 to 2"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, message):
    x = pictures(dtype="float64")
    with pytest.raises(npconv.InputError, match=message):
        attention_map(MODELS["strided keys"], x, **arguments)


def test_models_without_attention_are_refused():
    for model, message in (
        (None, "expected a model of npconv, got NoneType"),
        (made(CONFIGS["convnext"]), "expected a model with attention, a CvT; got a ConvNextForImageClassification"),
        (
            made(CONFIGS["cvt"], engine="fast"),
            "expected a model with engine='explicit' for attention, got engine='fast'",
        ),
    ):
        with pytest.raises(npconv.InputError, match=message):
            attention_map(model, X)


@pytest.mark.parametrize("engine", ["explicit", "fast"])
@pytest.mark.parametrize("family", CONFIGS)
def test_kernels_are_those_of_the_checkpoint(family, engine):
    model = made(CONFIGS[family], engine=engine)
    of_depth = {
        name: array
        for name, array in model.state_dict().items()
        if array.ndim == 4 and array.shape[1] == 1 < array.shape[2]
    }
    assert len(of_depth) > 3
    for name, array in of_depth.items():
        short = name.removeprefix(f"{model.base_model_prefix}.").removesuffix(".weight")
        for said in (name, name.removesuffix(".weight"), short):
            found = kernels(model, said)
            np.testing.assert_array_equal(found, array[:, 0])
    np.testing.assert_array_equal(kernels(model), next(iter(of_depth.values()))[:, 0])
    assert isinstance(kernels(model), Heatmap)
    kernels(model)[:] = 0
    assert np.asarray(kernels(model)).any()


def test_a_layer_that_is_not_there_is_refused_with_the_nearest():
    model = BARE_MODELS["convnext"](CONFIGS["convnext"])
    message = (
        r"expected the name of a depthwise convolution of the model, got 'encoder.stages.0.layers.0.dwcon' \(nearest"
    )
    with pytest.raises(npconv.InputError, match=message):
        kernels(model, "encoder.stages.0.layers.0.dwcon")
    with pytest.raises(npconv.InputError, match="expected the name of a depthwise convolution of the model, got 3"):
        kernels(model, 3)
    with pytest.raises(npconv.InputError, match="expected a model of npconv, got str"):
        kernels("convnext")
