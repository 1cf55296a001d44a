"""Names and layouts of other libraries, there and back."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from support.conversion_files import infer_config
from support.families import MODULES

import npconv
from npconv.convert import dialects, translate
from npconv.convert.dialects import LAYOUTS
from npconv.convert.source import open_source, told_family
from npconv.errors import WeightsError
from npconv.files import safetensors
from npconv.models import convnext, convnextv2
from npconv.models.naming import Rule
from npconv.models.parameters import Shapes

pytestmark = pytest.mark.long

STAGED = {"hidden_sizes": [3, 5, 7], "depths": [1, 2, 1], "num_stages": 3, "num_labels": 4, "patch_size": 2}
CVT = {
    "embed_dim": [4, 6, 6],
    "num_heads": [2, 3, 1],
    "depth": [1, 2, 1],
    "mlp_ratio": [1.5, 7 / 3, 2.0],
    "cls_token": [False, True, True],
    "qkv_bias": [True, False, True],
    "kernel_qkv": [3, 5, 3],
    "padding_q": [1, 2, 1],
    "padding_kv": [1, 2, 1],
    "num_labels": 5,
}
CONFIGS = {
    "convnext": npconv.ConvNextConfig(**STAGED),
    "convnext without layer scale": npconv.ConvNextConfig(**STAGED, layer_scale_init_value=0),
    "convnext without classes": npconv.ConvNextConfig(**(STAGED | {"num_labels": 0})),
    "convnext with other shapes": npconv.ConvNextConfig(
        hidden_sizes=[6, 4], depths=[0, 11], num_stages=2, patch_size=[2, 3], num_channels=5
    ),
    "convnextv2": npconv.ConvNextV2Config(**STAGED),
    "cvt": npconv.CvtConfig(**CVT),
    "cvt without class token": npconv.CvtConfig(**(CVT | {"cls_token": [False] * 3})),
}
#: What only timm has, and the names that npconv has for it.
OVERLAPPING = STAGED | {"hidden_sizes": [24, 5, 7], "patch_size": 4}
VARIANTS = {
    "overlap": npconv.ConvNextConfig(**OVERLAPPING, stem_type="overlap"),
    "overlap_tiered": npconv.ConvNextV2Config(**OVERLAPPING, stem_type="overlap_tiered"),
    "overlap_act": npconv.ConvNextConfig(**OVERLAPPING, stem_type="overlap_act"),
    "head_norm_first": npconv.ConvNextConfig(**STAGED, head_norm_first=True),
    "head_hidden_size": npconv.ConvNextV2Config(**STAGED, head_hidden_size=9),
    "head_hidden_size without classes": npconv.ConvNextConfig(**(STAGED | {"num_labels": 0}), head_hidden_size=9),
    "kernel_sizes": npconv.ConvNextConfig(**STAGED, kernel_sizes=[3, 7, 5]),
    "overlap, head_norm_first": npconv.ConvNextV2Config(**OVERLAPPING, stem_type="overlap", head_norm_first=True),
}
CONFIGS |= VARIANTS
OF_FAMILY = {
    "convnext": ["huggingface", "facebook", "timm", "open_clip", "torchvision", "tensorflow"],
    "convnextv2": ["huggingface", "facebook", "timm", "open_clip", "tensorflow"],
    "cvt": ["huggingface", "microsoft", "tensorflow"],
}
OF_VARIANT = ["huggingface", "timm", "open_clip"]
ROUND_TRIPS = [
    (key, name)
    for key, config in CONFIGS.items()
    for name in (OF_VARIANT if key in VARIANTS else OF_FAMILY[config.model_type])
]


OPEN = ("num_heads", "patch_stride", "patch_padding", "stride_kv", "padding_kv")


def open_fields(config) -> dict[str, object]:
    """Return what the shapes of a model do not say and no table knows of these."""
    return {name: getattr(config, name) for name in OPEN} if config.model_type == "cvt" else {}


def random_state(shapes: Shapes, seed: int = 0) -> dict[str, np.ndarray]:
    """Return tensors without two equal numbers: a swapped axis shows."""
    rng = np.random.default_rng(seed)
    return {
        name: np.array(0, np.int64) if name.endswith("num_batches_tracked") else rng.standard_normal(shape, np.float32)
        for name, shape in shapes.items()
    }


def state_of(key: str) -> dict[str, np.ndarray]:
    config = CONFIGS[key]
    return random_state(MODULES[config.model_type].image_classification_shapes(config))


def assert_same(found, expected):
    assert sorted(found) == sorted(expected)
    for name, value in expected.items():
        assert found[name].dtype == value.dtype
        np.testing.assert_array_equal(found[name], value, err_msg=name)


def there_and_back(state, dialect):
    """Translate, detect what came out, and translate back; return both."""
    theirs = translate.from_hugging_face(state, dialect)
    detected = translate.detect(theirs)
    assert (detected.name, detected.prefix) == (dialect.name, dialect.prefix)
    ours = translate.to_hugging_face(theirs, detected)
    assert_same(translate.from_hugging_face(ours, detected), theirs)
    return theirs, ours


@pytest.mark.parametrize(("key", "name"), ROUND_TRIPS)
def test_there_and_back(key, name):
    state = state_of(key)
    theirs, ours = there_and_back(state, dialects.dialect(name, state))
    assert_same(ours, state)
    if name != "huggingface":
        assert not set(theirs) & set(state)


@pytest.mark.parametrize(("key", "name"), [pair for pair in ROUND_TRIPS if pair[1] != "tensorflow"])
def test_a_prefix_that_training_code_adds(key, name):
    state = state_of(key)
    usual = dialects.dialect(name, state)
    theirs, ours = there_and_back(state, dialects.dialect(name, state, prefix=f"module.{usual.prefix}"))
    assert all(name.startswith("module.") for name in theirs)
    assert_same(ours, state)


@pytest.mark.parametrize("prefix", ["", "convnextv2.", "module.convnextv2.", "module."])
@pytest.mark.parametrize("old", [False, True])
def test_hugging_face_with_and_without_prefix_and_with_old_names(prefix, old):
    state = state_of("convnextv2")
    wrapper = "module." if prefix.startswith("module.") else ""
    theirs = {}
    for name, value in state.items():
        spelled = name.replace("grn.weight", "grn.gamma").replace("grn.bias", "grn.beta") if old else name
        at_home = spelled.startswith("convnextv2.")
        theirs[prefix + spelled.removeprefix("convnextv2.") if at_home else wrapper + spelled] = value
    detected = translate.detect(theirs)
    assert detected.name == "huggingface"
    ours = translate.to_hugging_face(theirs, detected)
    assert_same(ours, state)
    assert_same(translate.from_hugging_face(ours, detected), theirs)


def test_hugging_face_backbone():
    config = npconv.ConvNextV2Config(**STAGED, out_features=["stem", "stage2"])
    state = random_state(convnextv2.backbone_shapes(config))
    detected = translate.detect(state)
    ours = translate.to_hugging_face(state, detected)
    assert "hidden_states_norms.stage2.bias" in ours
    assert_same(translate.from_hugging_face(ours, detected), state)
    found, _ = infer_config(ours)
    assert found.out_features == ["stem", "stage2"]
    assert found.architectures == ["ConvNextV2Backbone"]
    npconv.ConvNextV2Backbone(found, ours)


@pytest.mark.parametrize("key", ["convnext without classes", "convnextv2", "cvt"])
def test_bare_models_of_hugging_face(key):
    config = CONFIGS[key]
    state = random_state(MODULES[config.model_type].model_shapes(config))
    ours = translate.to_hugging_face(state, translate.detect(state))
    assert {name.partition(".")[0] for name in ours} == {config.model_type}
    fields = open_fields(config)
    found, reasons = infer_config(ours, **fields)
    assert found.architectures[0].endswith("Model")
    assert "num_labels 0: there is no classifier" in reasons


@pytest.mark.parametrize("mlp", ["linear", "1x1"])
def test_timm_with_linear_and_convolutional_mlp(mlp):
    state = state_of("convnextv2")
    dialect = dialects.Dialect(dialects.dialect("timm", state).table, "convnextv2", layouts={"@mlp": mlp})
    theirs, ours = there_and_back(state, dialect)
    assert theirs["stages.0.blocks.0.mlp.fc1.weight"].shape == ((12, 3) if mlp == "linear" else (12, 3, 1, 1))
    assert theirs["stages.0.blocks.0.mlp.grn.bias"].shape == (12,)
    assert_same(ours, state)


@pytest.mark.parametrize("key", [key for key in VARIANTS if key != "kernel_sizes"])
@pytest.mark.parametrize("name", ["facebook", "tensorflow"])
def test_what_another_library_lacks_is_named(key, name):
    state = state_of(key)
    with pytest.raises(
        WeightsError, match=f"{name} has no place for tensor '.*(overlap|before_pooling|pre_classifier)"
    ):
        translate.from_hugging_face(state, dialects.dialect(name, state))


def test_names_of_what_only_timm_has():
    state = state_of("overlap, head_norm_first")
    theirs = translate.from_hugging_face(state, dialects.dialect("timm", state))
    assert {"stem.0.weight", "stem.1.weight", "stem.2.weight", "norm_pre.weight", "head.fc.weight"} <= set(theirs)
    assert not any(name.startswith(("head.norm", "stem.3")) for name in theirs)
    state = state_of("head_hidden_size")
    theirs = translate.from_hugging_face(state, dialects.dialect("open_clip", state))
    np.testing.assert_array_equal(theirs["visual.head.mlp.fc1.weight"], state["pre_classifier.weight"])
    np.testing.assert_array_equal(theirs["visual.head.mlp.fc2.weight"], state["classifier.weight"])


def test_timm_writes_the_narrow_models_with_1x1_convolutions():
    for width, first, layout in [(32, 0, "linear"), (40, 0, "1x1"), (80, 0, "1x1"), (96, 0, "linear"), (96, 1, "1x1")]:
        config = npconv.ConvNextConfig(hidden_sizes=[width], depths=[1], num_stages=1, head_norm_first=first)
        state = random_state(convnext.image_classification_shapes(config))
        assert dialects.dialect("timm", state).layouts.get("@mlp", "linear") == layout


def encoder(seed: int = 0) -> dict[str, np.ndarray]:
    """A V2 whose final LayerNorm does nothing, as pre-training leaves it out."""
    state = random_state(convnextv2.image_classification_shapes(CONFIGS["convnextv2"]), seed)
    state = {name: value for name, value in state.items() if not name.startswith("classifier")}
    state["convnextv2.layernorm.weight"][:] = 1
    state["convnextv2.layernorm.bias"][:] = 0
    return state


@pytest.mark.parametrize("name", ["fcmae", "facebook-encoder", "timm-encoder"])
def test_pre_training_has_no_final_norm(name):
    state = encoder()
    dialect = dialects.dialect(name, state)
    theirs, ours = there_and_back(state, dialect)
    assert_same(ours, state)
    _, reasons = infer_config(ours, dialect=dialect)
    assert f"convnextv2.layernorm.weight: 1 where the file has none, as {name} does not store it" in reasons
    assert len(theirs) == len(state) - 2
    state["convnextv2.layernorm.bias"][1] = 0.5
    with pytest.raises(WeightsError, match=r"has no place for convnextv2.layernorm.bias.*would be lost"):
        translate.from_hugging_face(state, dialects.dialect(name, state))


def test_fcmae_kernels_are_in_the_order_of_the_sparse_library():
    state = encoder()
    theirs = translate.from_hugging_face(state, dialects.dialect("fcmae", state))
    kernel, dense = theirs["encoder.stages.1.1.dwconv.kernel"], "convnextv2.encoder.stages.1.layers.1.dwconv.weight"
    assert kernel.shape == (49, 5)
    assert kernel[3 * 7 + 2, 4] == state[dense][4, 0, 2, 3]  # column 3, row 2
    kernel, dense = theirs["encoder.downsample_layers.1.1.kernel"], "encoder.stages.1.downsampling_layer.1.weight"
    assert kernel.shape == (4, 3, 5)
    assert kernel[1 * 2 + 0, 2, 4] == state[f"convnextv2.{dense}"][4, 2, 0, 1]
    assert theirs["encoder.stages.0.0.dwconv.bias"].shape == (1, 3)
    assert theirs["encoder.stages.0.0.grn.gamma"].shape == (1, 12)


def test_fcmae_leaves_the_decoder_behind_and_says_so():
    state = encoder()
    theirs = translate.from_hugging_face(state, dialects.dialect("fcmae", state))
    extra = {name: np.zeros(2) for name in ("decoder.0.dwconv.weight", "mask_token", "proj.weight", "pred.bias")}
    both = theirs | extra
    detected = translate.detect(both)
    assert list(translate.take(both, detected).left) == list(extra)
    assert_same(translate.to_hugging_face(both, detected), state)
    with pytest.raises(WeightsError, match=r"fcmae has no place for tensor 'encoder\.mask'"):
        translate.to_hugging_face(both | {"encoder.mask": np.zeros(2)}, detected)


def test_fcmae_with_flat_biases():
    state = encoder()
    theirs = translate.from_hugging_face(state, dialects.dialect("fcmae", state))
    theirs = {name: value.reshape(-1) if name.endswith(".bias") else value for name, value in theirs.items()}
    detected = translate.detect(theirs)
    ours = translate.to_hugging_face(theirs, detected)
    assert_same(ours, state)
    assert_same(translate.from_hugging_face(ours, detected), theirs)


def test_open_clip_has_a_text_tower_and_no_bias():
    state = state_of("convnext")
    state["classifier.bias"][:] = 0
    theirs = translate.from_hugging_face(state, dialects.dialect("open_clip", state))
    assert "visual.head.proj.bias" not in theirs
    text = {"logit_scale": np.zeros(()), "transformer.resblocks.0.attn.in_proj_weight": np.zeros((3, 3))}
    detected = translate.detect(theirs | text)
    assert detected.name == "open_clip"
    assert list(translate.take(theirs | text, detected).left) == list(text)
    assert_same(translate.to_hugging_face(theirs | text, detected), state)


@pytest.mark.parametrize("spelling", ["kernel", "depthwise_kernel"])
@pytest.mark.parametrize("layout", ["hw1c", "hwc1"])
@pytest.mark.parametrize("end", [":0", ""])
def test_tensorflow_kernels(spelling, layout, end):
    state = state_of("convnextv2")
    dialect = dialects.Dialect(
        dialects.dialect("tensorflow", state).table,
        "convnextv2",
        "tf_conv_next_v2_for_image_classification/convnextv2/",
        {"{depthwise}": spelling, "{end}": end},
        {"@depthwise": layout},
    )
    theirs, ours = there_and_back(state, dialect)
    assert_same(ours, state)
    root = "tf_conv_next_v2_for_image_classification"
    name = f"{root}/convnextv2/encoder/stages.1/layers.1/dwconv/{spelling}{end}"
    index = (2, 3, 0, 4) if layout == "hw1c" else (2, 3, 4, 0)
    assert theirs[name][index] == state["convnextv2.encoder.stages.1.layers.1.dwconv.weight"][4, 0, 2, 3]
    stem = theirs[f"{root}/convnextv2/embeddings/patch_embeddings/kernel{end}"]
    assert stem.shape == (2, 2, 3, 3)
    assert stem[0, 1, 2, 0] == state["convnextv2.embeddings.patch_embeddings.weight"][0, 2, 0, 1]
    assert theirs[f"{root}/classifier/kernel{end}"].shape == (7, 4)


def test_tensorflow_cvt_has_no_step_count_and_a_class_token_without_scope():
    state = state_of("cvt")
    for name in state:
        if name.endswith("num_batches_tracked"):
            state[name] = np.array(17, np.int64)
    theirs, ours = there_and_back(state, dialects.dialect("tensorflow", state))
    assert "cvt.encoder.stages.2.cls_token:0" in theirs
    assert not any("num_batches" in name for name in theirs)
    assert {int(v) for name, v in ours.items() if name.endswith("num_batches_tracked")} == {0}


@pytest.mark.parametrize(("key", "name"), ROUND_TRIPS)
def test_a_lacking_tensor_is_named(key, name):
    state = state_of(key)
    theirs = translate.from_hugging_face(state, dialects.dialect(name, state))
    detected = translate.detect(theirs)
    last_block = max(n for n in state if "mlp" in n or "pwconv2.weight" in n or ".output.dense.weight" in n)
    removed = next(n for n in theirs if detected.find(n)[0].ours.fill(detected.find(n)[1]) == last_block)
    del theirs[removed]
    with pytest.raises(WeightsError, match=f"lacks {re.escape(repr(last_block))}") as caught:
        translate.to_hugging_face(theirs, detected)
    called = f"; {name} calls {last_block} {removed!r}"
    assert str(caught.value).endswith(called) == (removed != last_block)


def test_no_tensor_is_said_to_be_like_itself():
    """The rules are of later stages: filled with the numbers of this name, one gives the name."""
    state = state_of("convnext")
    named = "stages.0.downsample.0.weight"
    theirs = translate.from_hugging_face(state, dialects.dialect("timm", state))
    detected = translate.detect(theirs)
    with pytest.raises(WeightsError, match=re.escape(named)) as caught:
        translate.to_hugging_face(theirs | {named: np.zeros(3)}, detected)
    assert str(caught.value).count(named) == 1


@pytest.mark.parametrize(("key", "name"), ROUND_TRIPS)
def test_a_left_over_tensor_is_named_with_the_nearest(key, name):
    state = state_of(key)
    theirs = translate.from_hugging_face(state, dialects.dialect(name, state))
    last = list(theirs)[-1]
    theirs[last + "x"] = np.zeros(3)
    with pytest.raises(WeightsError, match=re.escape(f"{last}x") + r".*\(nearest: "):
        translate.to_hugging_face(theirs, translate.detect(theirs))


def test_a_left_over_tensor_of_ours_is_named():
    state = state_of("convnext") | {"convnext.encoder.stages.1.layers.0.gamma": np.zeros(5)}
    with pytest.raises(WeightsError, match=r"no place for 'convnext.encoder.stages.1.layers.0.gamma' of shape \(5,\)"):
        translate.from_hugging_face(state, dialects.dialect("timm", state_of("convnext")))


def test_two_tensors_for_one_parameter():
    state = state_of("convnext")
    theirs = translate.from_hugging_face(state, dialects.dialect("facebook", state))
    detected = translate.detect(theirs)
    rules = (*detected.table.rules, Rule("{p}gamma{i}", "convnext.encoder.stages.{i}.layers.0.layer_scale_parameter"))
    twofold = dialects.Dialect(replace(detected.table, rules=rules), "convnext")
    message = "tensors 'stages.2.0.gamma' and 'gamma2' are both for convnext.encoder.stages.2.layers.0"
    with pytest.raises(WeightsError, match=message):
        translate.to_hugging_face(theirs | {"gamma2": np.zeros(7)}, twofold)


def test_a_wrong_shape_is_named():
    state = state_of("convnextv2")
    theirs = translate.from_hugging_face(state, dialects.dialect("facebook", state))
    theirs["stages.1.0.pwconv1.weight"] = theirs["stages.1.0.pwconv1.weight"].T
    with pytest.raises(WeightsError, match=r"stages.1.layers.0.pwconv1.weight has shape \(5, 20\), expected \(20, 5\)"):
        translate.to_hugging_face(theirs, translate.detect(theirs))


def test_a_wrong_layout_is_named():
    state = encoder()
    theirs = translate.from_hugging_face(state, dialects.dialect("fcmae", state))
    theirs["encoder.stages.0.0.dwconv.kernel"] = theirs["encoder.stages.0.0.dwconv.kernel"][:-1]
    with pytest.raises(WeightsError, match=r"expected 'encoder.stages.0.0.dwconv.kernel' to be laid out .* \(48, 3\)"):
        translate.to_hugging_face(theirs, translate.detect(theirs))


@pytest.mark.parametrize(
    "tensors",
    [{}, {"a": np.zeros(2)}, {"stem.1.weight": np.zeros(2)}, {"x{i}stem.0.weight": np.zeros(2)}, {"": np.zeros(1)}],
)
def test_no_dialect(tensors):
    with pytest.raises(WeightsError, match="expected tensors named as one of"):
        translate.detect(tensors)


def test_huge_numbers_in_names_cost_nothing():
    state = state_of("convnext")
    theirs = translate.from_hugging_face(state, dialects.dialect("facebook", state))
    for number, message in [("99999", "number blocks up to 100000, but there are only"), ("9" * 400, "no place for")]:
        name = f"stages.0.{number}.norm.weight"
        with pytest.raises(WeightsError, match=message):
            translate.to_hugging_face(theirs | {name: np.zeros(3)}, translate.detect(theirs))


def test_an_unknown_dialect_or_one_of_another_family():
    with pytest.raises(WeightsError, match="dialects that have cvt: huggingface, microsoft, tensorflow; got 'timm'"):
        dialects.dialect("timm", state_of("cvt"))
    with pytest.raises(WeightsError, match="expected names that begin with"):
        dialects.dialect("timm", {"stem.0.weight": np.zeros(2)})


def test_patterns():
    pattern = dialects.Pattern("features.{2n}.{j}.x+")
    assert pattern.match("features.4.10.x+") == {"i": 2, "j": 10}
    assert [pattern.match(f"features.{n}.0.x+") for n in ("0", "3", "04", "-2", "100000")] == [None] * 5
    assert pattern.match("features.4.1.xx") is None
    assert pattern.fill({"i": 2, "j": 10}) == "features.4.10.x+"
    assert dialects.Pattern("features.{2i+1}").match("features.1") == {"i": 0}


LAYOUT_SHAPES = {
    "same": (2, 3),
    "vector": (5,),
    "grn row": (1, 5),
    "row": (1, 5),
    "column": (5, 1, 1),
    "linear": (2, 3),
    "1x1": (2, 3, 1, 1),
    "io": (2, 3),
    "hwio": (2, 3, 4, 5),
    "hw1c": (2, 3, 1, 5),
    "hwc1": (2, 3, 5, 1),
    "sparse depthwise": (9, 5),
    "sparse": (9, 5, 4),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_has_an_inverse(name):
    layout, shape = LAYOUTS[name], LAYOUT_SHAPES[name]
    theirs = np.arange(np.prod(shape)).reshape(shape)
    assert layout.fits(shape)
    back = layout.theirs(layout.ours(theirs))
    assert back.shape == shape
    np.testing.assert_array_equal(back, theirs)


@pytest.mark.parametrize("name", ["facebook", "timm"])
def test_names_that_two_families_have_are_told_apart_by_what_is_said(tmp_path, name):
    state = state_of("convnext without classes")
    theirs = translate.from_hugging_face(state, dialects.dialect(name, state))
    both, other = ["convnext", "dinov3_convnext"], "dinov3_convnext"
    assert [found.family for found in translate.detect_all(theirs)] == both
    assert [found.family for found in translate.detect_all(theirs, other)] == both[::-1]
    assert translate.detect(theirs, "cvt").family == "convnext"
    path = tmp_path / "x.safetensors"
    safetensors.save_file(theirs, path)
    assert told_family(open_source(path)) is None
    assert told_family(open_source(path, model_type=other)) == other
    assert told_family(open_source(path, name="timm/convnext_tiny.dinov3_lvd1689m")) == other
