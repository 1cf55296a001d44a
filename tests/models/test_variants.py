"""What only some ConvNeXt models of timm have: stems, kernels, epsilons and heads that transformers has no fields for.

That the numbers are those of timm is for ``tests/convert/test_dialects_reference.py``, which has timm to ask.
Here every option is held against the models without it, by weights for which both are the same function.
"""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
from support.families import CONFIGS, MODULES, TASKS, classes_of

import npconv
from npconv.errors import InputError, NpconvWarning, WeightsError
from npconv.layers import NORMS, gelu, linear
from npconv.models.convnext.configuration import ADDED_FIELDS
from npconv.models.fields import config_fields
from npconv.models.parameters import count_parameters
from npconv.models.summary import layer_table
from weights_tools.goldens import draw

pytestmark = pytest.mark.long

STAGED_FAMILIES = ("convnext", "convnextv2")
CLASSIFIERS, BARE_MODELS, BACKBONES = (classes_of(task, STAGED_FAMILIES) for task in TASKS)
FAMILIES = pytest.mark.parametrize("family", STAGED_FAMILIES)

STAGED = {"hidden_sizes": [24, 10, 14], "depths": [1, 2, 1], "num_stages": 3, "num_labels": 5}

#: What norms of another kind lack.
NORM_BIASES = [
    *("embeddings.layernorm.bias", "layernorm.bias"),
    *(f"encoder.stages.{i}.downsampling_layer.0.bias" for i in (1, 2)),
    *(f"encoder.stages.{i}.layers.{j}.layernorm.bias" for i, depth in enumerate((1, 2, 1)) for j in range(depth)),
]

#: Fields of a model, and beginnings of the names that it has and the usual one has not, and the other way round.
OPTIONS = {
    "overlap": ({"stem_type": "overlap"}, ["embeddings.overlap_embeddings"], ["embeddings.patch_embeddings"]),
    "overlap_tiered": (
        {"stem_type": "overlap_tiered"},
        ["embeddings.overlap_embeddings"],
        ["embeddings.patch_embeddings"],
    ),
    "overlap_act": (
        {"stem_type": "overlap_act"},
        ["embeddings.overlap_act_embeddings"],
        ["embeddings.patch_embeddings"],
    ),
    "kernel_sizes": ({"kernel_sizes": [3, 7, 5]}, [], []),
    "norm_eps": ({"norm_eps": 1e-3}, [], []),
    "head_norm_first": ({"head_norm_first": True}, ["layernorm_before_pooling"], ["layernorm"]),
    "head_hidden_size": ({"head_hidden_size": 9}, ["pre_classifier"], []),
    "rms_norm": ({"norm_type": "rms_norm", "norm_eps": 0.1}, [], NORM_BIASES),
    "simple_norm": ({"norm_type": "simple_norm"}, [], NORM_BIASES),
    "maximum": ({"pooling": "max"}, [], []),
    "average and maximum": ({"pooling": "avgmax"}, [], []),
    "both": ({"pooling": "catavgmax", "head_norm_first": True}, ["layernorm_before_pooling"], ["layernorm"]),
    "stride 8": ({"output_stride": 8}, [], []),
    "stride 8 with RMS norm": ({"output_stride": 8, "norm_type": "rms_norm"}, [], NORM_BIASES),
    "several": (
        {"stem_type": "overlap_tiered", "kernel_sizes": 5, "norm_eps": 0.1, "head_norm_first": True},
        ["embeddings.overlap_embeddings", "layernorm_before_pooling"],
        ["embeddings.patch_embeddings", "layernorm"],
    ),
}
EACH = pytest.mark.parametrize("option", OPTIONS)


def make(family, option, classes=CLASSIFIERS, dtype="float64", **fields):
    """Return a model with an option, and random weights none of which is without effect."""
    config = CONFIGS[family](**{**STAGED, **OPTIONS[option][0], **fields})
    shapes = classes[family].parameter_shapes(config)
    weights = draw.weights(draw.generator(1, option), shapes.items())
    return classes[family](config, weights, dtype=dtype)


def pictures(height=37, width=42, batch=2):
    return draw.pixel_values(draw.generator(2, "pictures"), (batch, 3, height, width)).astype(np.float64)


def logits(family, fields, weights, pixel_values):
    """Return the logits of a model with these weights, by their names in a checkpoint."""
    config = CONFIGS[family](**{**STAGED, **fields})
    return CLASSIFIERS[family](config, weights, dtype="float64")(pixel_values).logits


@FAMILIES
@EACH
def test_names_and_shapes(family, option):
    fields, more, fewer = OPTIONS[option]
    usual = MODULES[family].image_classification_shapes(CONFIGS[family](**STAGED))
    config = CONFIGS[family](**STAGED, **fields)
    shapes = MODULES[family].image_classification_shapes(config)
    more, fewer = (
        {
            name if name in NORM_BIASES else f"{name}{number}.{kind}"
            for name in names
            for number in numbers(name)
            for kind in ("weight", "bias")
        }
        for names in (more, fewer)
    )
    prefixes = (f"{family}.", "")
    assert {name.removeprefix(prefixes[0]) for name in set(shapes) - set(usual)} == more
    assert {name.removeprefix(prefixes[0]) for name in set(usual) - set(shapes)} == fewer
    assert count_parameters(shapes) == sum(row.parameters for row in layer_table(config, 64, 64))
    assert CLASSIFIERS[family](config).num_parameters() == count_parameters(shapes)


def numbers(name):
    """Return the ends of the names of a layer's parts."""
    return (".0", ".1") if "overlap" in name else ("",)


@FAMILIES
def test_shapes_of_the_parts(family):
    shapes = MODULES[family].image_classification_shapes(
        CONFIGS[family](**STAGED, stem_type="overlap_tiered", kernel_sizes=[3, 7, 5], head_hidden_size=9)
    )
    assert shapes[f"{family}.embeddings.overlap_embeddings.0.weight"] == (16, 3, 3, 3)
    assert shapes[f"{family}.embeddings.overlap_embeddings.0.bias"] == (16,)
    assert shapes[f"{family}.embeddings.overlap_embeddings.1.weight"] == (24, 16, 3, 3)
    kernels = [shapes[f"{family}.encoder.stages.{i}.layers.0.dwconv.weight"] for i in range(3)]
    assert kernels == [(24, 1, 3, 3), (10, 1, 7, 7), (14, 1, 5, 5)]
    assert (shapes["pre_classifier.weight"], shapes["classifier.weight"]) == ((9, 14), (5, 9))


@FAMILIES
@EACH
def test_a_file_has_the_fields_that_are_not_the_usual_ones(family, option):
    fields = OPTIONS[option][0]
    config = CONFIGS[family](**STAGED, **fields)
    written = json.loads(config.to_json_string())
    assert {name: written[name] for name in ADDED_FIELDS if name in written} == fields
    assert CONFIGS[family].from_dict(written) == config
    assert CONFIGS[family].from_dict(written, **ADDED_FIELDS) == CONFIGS[family](**STAGED)
    other, usual, unknown = config_fields(config)
    assert fields.items() <= other.items()
    assert not unknown
    assert not set(fields) & set(usual)


@FAMILIES
@EACH
@pytest.mark.parametrize("engine", ["explicit", "fast"])
def test_saved_and_loaded(family, option, engine, tmp_path):
    model = make(family, option, dtype="float32")
    model.save_pretrained(tmp_path)
    x = pictures().astype(np.float32)
    expected = model(x, output_hidden_states=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = npconv.AutoModelForImageClassification.from_pretrained(tmp_path, engine=engine)
        bare = BARE_MODELS[family].from_pretrained(tmp_path, engine=engine)
    rest = {name: value for name, value in model.state_dict().items() if not name.startswith("classifier.")}
    headless = CLASSIFIERS[family](CONFIGS[family](**STAGED | OPTIONS[option][0] | {"num_labels": 0}), rest)
    assert loaded.config.to_dict() == {**model.config.to_dict(), **saved_fields(model)}
    tolerance = {"rtol": 0, "atol": 0 if engine == "explicit" else 1e-4}  # logits of size 1; the engines are compared
    np.testing.assert_allclose(loaded(x).logits, expected.logits, **tolerance)  # in tests/fast
    output = bare(x)
    np.testing.assert_allclose(output.last_hidden_state, expected.hidden_states[-1], **tolerance)
    hidden = model.config.head_hidden_size
    assert output.pooler_output.shape == (2, model.config.pooled_size)
    assert headless(x).logits.shape == (2, hidden or model.config.pooled_size)
    pooled = output.pooler_output
    if hidden is not None:
        params = model.params["pre_classifier"]
        pooled = gelu(linear(pooled, **params))
    np.testing.assert_allclose(headless(x).logits, pooled, **tolerance)
    with pytest.warns(NpconvWarning, match=r"hidden_states_norms\.stage3"):
        backbone = BACKBONES[family].from_pretrained(tmp_path, engine=engine)
    assert backbone.loading_report.unexpected == ()
    assert backbone(x).feature_maps[0].shape == expected.hidden_states[-1].shape


def saved_fields(model):
    """Return what ``save_pretrained`` writes beside the configuration."""
    return {"architectures": [type(model).__name__], "dtype": "float32"}


@FAMILIES
@pytest.mark.parametrize("option", ["overlap", "overlap_tiered", "overlap_act", "head_norm_first"])
def test_weights_of_another_variant_are_refused(family, option):
    weights = dict(make(family, option).state_dict())
    with pytest.raises(WeightsError, match=r"patch_embeddings\.weight|layernorm\.weight"):
        CLASSIFIERS[family](CONFIGS[family](**STAGED), weights)


@FAMILIES
@EACH
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_dtype_in_is_dtype_out(family, option, dtype):
    model = make(family, option, dtype=dtype)
    output = model(pictures(), output_hidden_states=True)
    assert {x.dtype for x in (output.logits, *output.hidden_states)} == {np.dtype(dtype)}
    assert np.isfinite(output.logits).all()


@FAMILIES
@pytest.mark.parametrize("stem_type", ["patch", "overlap", "overlap_tiered", "overlap_act"])
@pytest.mark.parametrize("engine", ["explicit", "fast"])
def test_the_smallest_picture_works_and_smaller_ones_are_refused(family, stem_type, engine):
    config = CONFIGS[family](**STAGED, stem_type=stem_type)
    model = CLASSIFIERS[family](config, engine=engine)
    least = 16 if stem_type == "patch" else 13
    assert config.least_picture == (least, least)
    output = model(pictures(least, least), output_hidden_states=True)
    assert output.hidden_states[-1].shape == (2, 14, 1, 1)
    layer_table(config, least, least)
    for height, width in ((least - 1, least), (least, least - 1)):
        with pytest.raises(InputError, match=f"at least {least} x {least} pixels for 3 stages"):
            model(pictures(height, width))
        with pytest.raises(InputError, match="does not fit"):
            layer_table(config, height, width)


@FAMILIES
@pytest.mark.parametrize(("side", "first"), [(13, 4), (16, 4), (17, 5), (37, 10), (41, 11)])
def test_an_overlapping_stem_rounds_sizes_up(family, side, first):
    states = make(family, "overlap")(pictures(side, 64), output_hidden_states=True).hidden_states
    assert states[0].shape == (2, 24, first, 16)


@FAMILIES
def test_an_overlapping_stem_without_overlap_is_the_stem_of_patches(family):
    """Kernels that keep to 2 x 2 places, none of them in the padding, make patches of 4 x 4 together."""
    usual = make(family, "norm_eps", norm_eps=1e-6, patch_size=4)
    weights = {name: np.asarray(value, np.float64) for name, value in usual.state_dict().items()}
    rng = np.random.default_rng(3)
    kernels = [np.zeros((24, 3, 3, 3)), np.zeros((24, 24, 3, 3))]
    for kernel in kernels:
        kernel[:, :, 1:, 1:] = rng.standard_normal((*kernel.shape[:2], 2, 2)) / 10
    biases = rng.standard_normal((2, 24))
    # the second convolution sums over first outputs (u, v), each of which sees inputs (2u, 2v) to (2u + 1, 2v + 1)
    patches = np.einsum("omuv,mcij->ocuivj", kernels[1][:, :, 1:, 1:], kernels[0][:, :, 1:, 1:])
    stem = f"{family}.embeddings"
    weights[f"{stem}.patch_embeddings.weight"] = patches.reshape(24, 3, 4, 4)
    weights[f"{stem}.patch_embeddings.bias"] = biases[1] + kernels[1].sum(axis=(2, 3)) @ biases[0]
    x = pictures(36, 44)
    expected = logits(family, {}, weights, x)
    for kind in ("weight", "bias"):
        del weights[f"{stem}.patch_embeddings.{kind}"]
    for stem_type, name in (("overlap", "overlap_embeddings"), ("overlap_act", "overlap_act_embeddings")):
        parts = {
            f"{stem}.{name}.{index}.{kind}": values[index]
            for index in (0, 1)
            for kind, values in (("weight", kernels), ("bias", biases))
        }
        found = logits(family, {"stem_type": stem_type}, weights | parts, x)
        # Sums are taken in another order: some 100 roundings. GELU is no identity.
        assert (np.abs(found - expected).max() < 1e-11) == (stem_type == "overlap")


@FAMILIES
def test_the_stems_activation_is_that_of_the_blocks(family):
    """With none, an activated stem is one without activation; with ReLU, it is not."""
    weights = make(family, "overlap").state_dict()
    activated = {name.replace("overlap_", "overlap_act_"): value for name, value in weights.items()}
    for hidden_act in ("linear", "relu"):
        fields = {"hidden_act": hidden_act}
        plain = logits(family, {**fields, "stem_type": "overlap"}, weights, pictures())
        found = logits(family, {**fields, "stem_type": "overlap_act"}, activated, pictures())
        assert np.array_equal(found, plain) == (hidden_act == "linear")


@FAMILIES
def test_a_small_kernel_is_a_large_one_with_zeros_around(family):
    weights = dict(make(family, "kernel_sizes").state_dict())
    found = logits(family, {"kernel_sizes": [3, 7, 5]}, weights, pictures())
    for name, value in weights.items():
        if name.endswith("dwconv.weight"):
            around = (7 - value.shape[2]) // 2
            weights[name] = np.pad(value, ((0, 0), (0, 0), (around, around), (around, around)))
    # The zeros add nothing, but the products of larger maps may be summed in another order.
    np.testing.assert_allclose(found, logits(family, {}, weights, pictures()), rtol=0, atol=1e-12)


@FAMILIES
def test_the_order_of_norm_and_pooling_matters_but_for_a_map_of_one_position(family):
    weights = make(family, "head_norm_first").state_dict()
    usual = {name.replace("layernorm_before_pooling", "layernorm"): value for name, value in weights.items()}
    for side, is_same in ((16, True), (32, False)):
        first = logits(family, {"head_norm_first": True}, weights, pictures(side, side))
        last = logits(family, {}, usual, pictures(side, side))
        assert (np.abs(first - last).max() < 1e-12) == is_same


@FAMILIES
def test_the_final_epsilon_is_that_of_the_norm_before_the_pooling(family):
    """A large one shrinks the features; `norm_eps` is another one."""
    weights = make(family, "head_norm_first").state_dict()
    sizes = []
    for epsilons in ({}, {"layer_norm_eps": 1e6}):
        config = CONFIGS[family](**{**STAGED, "num_labels": 0, "head_norm_first": True}, **epsilons)
        own = {name: value for name, value in weights.items() if not name.startswith("classifier")}
        own[f"{family}.layernorm_before_pooling.bias"] = np.zeros(14)
        sizes.append(np.abs(CLASSIFIERS[family](config, own, dtype="float64")(pictures()).logits).max())
    assert sizes[1] < 0.1 * sizes[0]


@FAMILIES
def test_every_other_epsilon_is_norm_eps(family, monkeypatch):
    seen = []
    for name, original in NORMS.items():
        recording = lambda x, *a, eps, axis, f=original, **k: seen.append(eps) or f(x, *a, eps=eps, axis=axis, **k)  # noqa: E731
        monkeypatch.setitem(NORMS, name, recording)
    make(family, "norm_eps", BACKBONES)(pictures())
    assert seen == [1e-3] * (1 + 2 + 4 + 1)  # stem, downsampling, blocks, the last stage's output
    seen.clear()
    make(family, "norm_eps")(pictures())
    assert seen == [1e-3] * (1 + 2 + 4) + [1e-12]


@FAMILIES
def test_the_hidden_layer_has_exact_gelu_whatever_the_blocks_have(family):
    fields = {"head_hidden_size": 9, "hidden_act": "relu"}
    model = make(family, "head_hidden_size", hidden_act="relu")
    x, params = pictures(), model.params
    bare = {name: value for name, value in model.state_dict().items() if not name.startswith(("pre_", "classifier"))}
    config = CONFIGS[family](**STAGED, **fields)
    pooled = BARE_MODELS[family](config, bare, dtype="float64")(x).pooler_output
    expected = linear(gelu(linear(pooled, **params["pre_classifier"])), **params["classifier"])
    np.testing.assert_array_equal(model(x).logits, expected)


@FAMILIES
@EACH
def test_training_runs_and_without_stochastic_depth_changes_nothing(family, option):
    model = make(family, option)
    np.testing.assert_array_equal(model(pictures(), training=True, rng=0).logits, model(pictures()).logits)


@pytest.mark.reference
@FAMILIES
def test_transformers_keeps_the_fields_and_finds_its_own_parameters_missing(family, tmp_path):
    """It would compute something else, so it must not load such a file without a word."""
    transformers = pytest.importorskip("transformers")
    model = make(family, "several", dtype="float32")
    model.save_pretrained(tmp_path)
    theirs = transformers.AutoConfig.from_pretrained(tmp_path)
    for name, value in OPTIONS["several"][0].items():
        assert getattr(theirs, name) == value
    theirs.save_pretrained(tmp_path / "theirs")
    again = CONFIGS[family].from_pretrained(tmp_path / "theirs")
    assert {name: getattr(again, name) for name in ADDED_FIELDS} == {
        name: getattr(model.config, name) for name in ADDED_FIELDS
    }
    _, said = transformers.AutoModelForImageClassification.from_pretrained(
        tmp_path, output_loading_info=True, ignore_mismatched_sizes=True
    )
    missing = {name.removeprefix(f"{family}.") for name in said["missing_keys"]}
    assert {"embeddings.patch_embeddings.weight", "layernorm.weight"} <= missing
