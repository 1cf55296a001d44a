"""The configuration of a model from its names and shapes, and what is refused."""

from __future__ import annotations

import re

import numpy as np
import pytest
from support.conversion_files import infer_config
from test_dialects import CONFIGS, CVT, ROUND_TRIPS, open_fields, random_state, state_of

import npconv
from npconv.convert import OpenFieldsError, dialects, translate
from npconv.errors import ConfigError, WeightsError
from npconv.models import convnext, convnextv2, cvt, find_family
from npconv.models.cvt.names import OPEN_FIELDS


@pytest.mark.parametrize(("key", "name"), ROUND_TRIPS)
def test_the_configuration_comes_back(key, name):
    state, config = state_of(key), CONFIGS[key]
    dialect = dialects.dialect(name, state)
    fields = open_fields(config)
    found, reasons = infer_config(state, dialect=dialect, **fields)
    expected = config.to_dict() | {"layer_norm_eps": dialect.table.numbers.get("layer_norm_eps", 1e-12)}
    expected |= {"hidden_act": "quick_gelu" if name == "microsoft" else "gelu"}
    ignored = {"architectures", "drop_path_rate", "id2label", "label2id"}
    found_fields = found.to_dict()
    assert {n: found_fields[n] for n in expected if n not in ignored} == {
        n: value for n, value in expected.items() if n not in ignored
    }
    assert found.num_labels == config.num_labels
    assert any(reason.startswith("layer_norm_eps") for reason in reasons)


def timm_state(key: str = "convnext") -> dict[str, np.ndarray]:
    state = state_of(key)
    return translate.from_hugging_face(state, dialects.dialect("timm", state))


@pytest.mark.parametrize(
    ("key", "lacking", "option"),
    [
        ("convnext", "stem.0.bias", "conv_bias=False"),
        ("overlap_tiered", "stem.0.bias", "conv_bias=False"),
    ],
)
def test_what_the_models_lack_is_refused_by_its_name(key, lacking, option):
    tensors = timm_state(key)
    del tensors[lacking]
    with pytest.raises(translate.UnsupportedError, match=re.escape(option)) as caught:
        translate.detect(tensors)
    assert caught.value.option == option
    with pytest.raises(translate.UnsupportedError, match=re.escape(option)):
        translate.detect({f"visual.trunk.{name}": value for name, value in tensors.items()})


@pytest.mark.parametrize("dialect", ["timm", "open_clip", "facebook"])
@pytest.mark.parametrize(("patch", "stages", "expected"), [(7, 4, None), (8, 4, 32), (16, 4, 32), (16, 2, None)])
def test_a_patch_after_which_timm_dilates(dialect, patch, stages, expected):
    """No shape shows it: the last stage has stride 1 after a patch of 8."""
    widths, depths = [4, 6, 8, 10][:stages], [1] * stages
    fields = {"hidden_sizes": widths, "depths": depths, "num_stages": stages, "patch_size": patch, "num_labels": 3}
    ours = zeros("convnext", fields)
    theirs = translate.from_hugging_face(ours, dialects.dialect(dialect, ours))
    detected = translate.detect(theirs)
    config, reasons = infer_config(translate.to_hugging_face(theirs, detected), dialect=detected)
    assert config.output_stride == (None if dialect == "facebook" else expected)
    assert any(reason.startswith("output_stride 32: what") for reason in reasons) == (config.output_stride == 32)


def zeros(model_type, fields):
    """Return the parameters of a classifier, all 0."""
    config = find_family(model_type).config_class(**fields)
    shapes = find_family(model_type).part("model").image_classification_shapes(config)
    return {name: np.broadcast_to(np.float32(0), shape) for name, shape in shapes.items()}


@pytest.mark.parametrize("model_type", ["convnext", "convnextv2"])
def test_norms_without_bias_are_of_one_of_two_kinds_which_must_be_said(model_type):
    widths = {"hidden_sizes": [4, 6, 8, 10], "depths": [1] * 4, "num_labels": 3}
    ours = zeros(model_type, {**widths, "norm_type": "rms_norm"})
    theirs = translate.from_hugging_face(ours, dialects.dialect("timm", ours))
    detected = translate.detect(theirs)
    again = translate.to_hugging_face(theirs, detected)
    assert list(again) == list(ours)
    with pytest.raises(OpenFieldsError, match="norm_type=rms_norm or norm_type=simple_norm"):
        infer_config(again, dialect=detected)
    for kind in ("rms_norm", "simple_norm"):
        assert infer_config(again, dialect=detected, norm_type=kind)[0].norm_type == kind


@pytest.mark.parametrize(
    ("depths", "width", "expected"), [((2, 2, 4, 2), 32, "simple_norm"), ((2, 2, 6, 2), 40, "rms_norm")]
)
def test_norms_without_bias_of_timms_own_sizes(depths, width, expected):
    sizes = {"hidden_sizes": [width << stage for stage in range(4)], "depths": depths, "num_labels": 3}
    for norm_type in ("simple_norm", "layer_norm"):
        ours = zeros("convnext", {**sizes, "norm_type": norm_type})
        config, _ = infer_config(ours, dialect=dialects.dialect("timm", ours))
        assert config.norm_type == (expected if norm_type == "simple_norm" else "layer_norm")


@pytest.mark.parametrize("prefix", ["", "visual.trunk."])
def test_a_first_stage_that_downsamples_is_refused(prefix):
    tensors = {f"{prefix}{name}": value for name, value in timm_state().items()}
    odd = f"{prefix}stages.0.downsample.1.weight"
    with pytest.raises(translate.UnsupportedError, match=f"there is '{re.escape(odd)}'") as caught:
        translate.detect(tensors | {odd: Shape((3, 3, 2, 2))})
    assert caught.value.option == "patch_size=2"


#: Widths, depths, kernels of a timm model -> fields that its shapes do not show.
TEST_DIMS = [32, 64, 96, 128]
TIMM_NUMBERS = [
    ([24, 32, 48, 64], [1, 2, 4, 2], 7, (1e-5, "gelu_pytorch_tanh"), "test_convnext"),
    (TEST_DIMS, [1, 1, 1, 1], 7, (1e-5, "gelu_pytorch_tanh"), "test_convnext2"),
    (TEST_DIMS, [1, 1, 1, 1], [7, 5, 5, 3], (1e-5, "silu"), "test_convnext3"),
    ([384, 768, 1536, 3072], [3, 4, 30, 3], 7, (1e-5, "gelu"), "convnext_xxlarge"),
    (TEST_DIMS, [1, 1, 1, 1], 5, (1e-6, "gelu"), None),
]


@pytest.mark.parametrize(("widths", "depths", "kernels", "numbers", "name"), TIMM_NUMBERS)
def test_numbers_that_shapes_do_not_show_are_those_of_timms_models(widths, depths, kernels, numbers, name):
    config = npconv.ConvNextConfig(hidden_sizes=widths, depths=depths, kernel_sizes=kernels)
    shapes = {name: Shape(shape) for name, shape in convnext.image_classification_shapes(config).items()}
    for dialect in ("timm", "open_clip"):
        found, reasons = infer_config(shapes, dialect=dialects.dialect(dialect, shapes))
        assert (found.norm_eps, found.layer_norm_eps, found.hidden_act) == (numbers[0], *numbers)
        assert found.stage_kernel_sizes == config.stage_kernel_sizes
        usual = f"what {dialect} computes with unless told otherwise; if it was, --set norm_eps=... says so"
        why = f"not in the shapes; that of timm's {name}" if name else usual
        assert f"norm_eps {numbers[0]}: {why}" in reasons
        activation = next(reason for reason in reasons if reason.startswith("hidden_act "))
        assert ("--set hidden_act=" in activation) == (name is None)
        assert f"layer_norm_eps {numbers[0]}: norm_eps, which {dialect} has for all LayerNorms" in reasons
    found, reasons = infer_config(shapes, dialect=dialects.dialect("facebook", shapes))
    assert (found.norm_eps, found.layer_norm_eps, found.hidden_act) == (1e-6, 1e-6, "gelu")
    assert not any(reason.startswith("norm_eps") for reason in reasons)


def test_numbers_that_shapes_do_not_show_can_be_given():
    state = state_of("convnext")
    timm = dialects.dialect("timm", state)
    found, reasons = infer_config(state, dialect=timm, norm_eps=1e-3, hidden_act="silu")
    assert (found.norm_eps, found.layer_norm_eps, found.hidden_act) == (1e-3, 1e-3, "silu")
    assert {"norm_eps 0.001: given", "hidden_act silu: given"} < set(reasons)
    found, _ = infer_config(state, dialect=timm, norm_eps=1e-3, layer_norm_eps=1e-4)
    assert (found.norm_eps, found.layer_norm_eps) == (1e-3, 1e-4)
    found, _ = infer_config(state, dialect=dialects.dialect("facebook", state), norm_eps=1e-3)
    assert (found.norm_eps, found.layer_norm_eps) == (1e-3, 1e-6)


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("overlap", "num_channels 3, stem_type overlap: stem kernels 24x3x3x3 and 24x24x3x3"),
        ("overlap_tiered", "num_channels 3, stem_type overlap_tiered: stem kernels 16x3x3x3 and 24x16x3x3"),
        ("overlap_act", "num_channels 3, stem_type overlap_act: stem kernels 24x3x3x3 and 24x24x3x3"),
        ("head_norm_first", "head_norm_first True: the last LayerNorm is before the pooling"),
        ("head_hidden_size", "head_hidden_size 9: a hidden layer 9x7 before the classifier"),
        ("kernel_sizes", "kernel_sizes [3, 7, 5]: depthwise kernels of the first block of each stage"),
    ],
)
def test_what_only_timm_has_is_said(key, reason):
    assert reason in infer_config(state_of(key))[1]


@pytest.mark.parametrize(
    ("key", "part", "shape", "message"),
    [
        ("overlap", "overlap_embeddings.0.weight", (10, 3, 3, 3), r"overlap_embeddings.0.weight has shape \(10, 3"),
        (
            "overlap",
            "overlap_embeddings.1.weight",
            (24, 24, 5, 5),
            r"overlap_embeddings.1.weight has shape \(24, 24, 5",
        ),
        ("convnext", "stages.1.layers.0.dwconv.weight", (5, 1, 4, 4), r"expected kernel_sizes\[1\] to be odd, got 4"),
        ("convnext", "stages.1.layers.1.dwconv.weight", (5, 1, 5, 5), r"layers.1.dwconv.weight has shape \(5, 1, 5, 5"),
        ("convnext", "stages.1.layers.0.dwconv.weight", (5, 1, 7, 5), r"layers.0.dwconv.weight has shape \(5, 1, 7, 5"),
        ("convnext", "stages.1.layers.0.dwconv.weight", (5,), r"layers.0.dwconv.weight has shape \(5,\)"),
    ],
)
def test_a_stem_or_kernel_that_no_model_has_is_named(key, part, shape, message):
    state = state_of(key)
    name = next(name for name in state if name.endswith(part))
    with pytest.raises(WeightsError, match=message):
        infer_config(state | {name: np.zeros(shape, np.float32)})


class Shape:
    """A tensor of which only the shape is known."""

    def __init__(self, shape):
        self.shape = shape


@pytest.mark.parametrize(
    ("depth", "widths", "heads", "size"),
    [
        ([1, 2, 10], [64, 192, 384], [1, 3, 6], 224),
        ([1, 4, 16], [64, 192, 384], [1, 3, 6], 224),
        ([2, 2, 20], [192, 768, 1024], [3, 12, 16], 384),
    ],
)
def test_published_cvt_models_need_no_argument(depth, widths, heads, size):
    config = npconv.CvtConfig(depth=depth, embed_dim=widths, num_heads=heads, num_labels=1000)
    shapes = {name: Shape(shape) for name, shape in cvt.image_classification_shapes(config).items()}
    found, reasons = infer_config(shapes)
    assert (found.num_heads, found.image_size, found.num_labels) == (heads, size, 1000)
    assert any(reason.startswith(f"num_heads {heads}: not in the shapes; that of CvT-") for reason in reasons)


def test_an_unpublished_cvt_asks_for_what_its_shapes_leave_open():
    config = npconv.CvtConfig(**(CVT | {"patch_sizes": [5, 3, 3], "qkv_projection_method": ["avg", "dw_bn", "dw_bn"]}))
    state = random_state(cvt.image_classification_shapes(config))
    message = "num_heads, patch_stride, patch_padding, stride_kv, padding_kv, qkv_projection_method: not in the shapes"
    with pytest.raises(WeightsError, match=message):
        infer_config(state)
    given = open_fields(config) | {"qkv_projection_method": config.qkv_projection_method}
    found, reasons = infer_config(state, **given)
    assert found.qkv_projection_method == ["avg", "dw_bn", "dw_bn"]
    assert (found.kernel_qkv, found.padding_q) == ([3, 5, 3], [1, 2, 1]), "no kernel shows in the first"
    assert (found.mlp_ratio, found.qkv_bias) == (config.mlp_ratio, config.qkv_bias)
    assert f"num_heads {config.num_heads}: given" in reasons
    with pytest.raises(ConfigError, match="to divide embed_dim"):
        infer_config(state, **given | {"num_heads": [5, 1, 1]})
    with pytest.raises(ConfigError, match="did you mean 'num_heads'"):
        infer_config(state, **given, num_head=[1, 1, 1])


def test_the_examples_for_what_is_left_open_are_those_of_the_published_models():
    usual = npconv.CvtConfig()
    assert {name: values[0] for name, values in OPEN_FIELDS.items()} == {
        name: getattr(usual, name) for name in OPEN_FIELDS
    }


def test_the_reasons_are_sentences():
    config = npconv.ConvNextV2Config(num_labels=1000)
    shapes = {name: Shape(shape) for name, shape in convnextv2.image_classification_shapes(config).items()}
    _, reasons = infer_config(shapes, dialect=dialects.dialect("facebook", shapes))
    assert reasons == [
        "model_type convnextv2: global response normalization",
        "depths [3, 3, 9, 3]: blocks of each stage",
        "hidden_sizes [96, 192, 384, 768]: stem and downsampling kernels",
        "num_channels 3, patch_size 4: stem kernel 96x3x4x4",
        "num_labels 1000: classifier 1000x768",
        "hidden_act gelu: what facebook computes with",
        "layer_norm_eps 1e-06: what facebook computes with",
        "image_size 224: not in the shapes; that of ConvNeXt V2 tiny",
        "architectures ['ConvNextV2ForImageClassification']: the parameters that are there",
    ]


@pytest.mark.parametrize("hidden", [1, 3, 7, 49, 101])
@pytest.mark.parametrize("width", [3, 7, 49, 93, 107])
def test_any_number_of_hidden_channels_has_a_ratio(hidden, width):
    config = npconv.CvtConfig(**(CVT | {"embed_dim": [width] * 3, "num_heads": [1] * 3, "cls_token": [False] * 3}))
    shapes = {
        name: Shape(tuple(hidden if side == config.hidden_channels(stage) else side for side in shape))
        for stage in range(3)
        for name, shape in cvt.image_classification_shapes(config).items()
        if f"stages.{stage}." in name or stage == 0
    }
    for stage in range(3):
        for layer in range(config.depth[stage]):
            block = f"cvt.encoder.stages.{stage}.layers.{layer}"
            shapes[f"{block}.intermediate.dense.weight"] = Shape((hidden, width))
            shapes[f"{block}.intermediate.dense.bias"] = Shape((hidden,))
            shapes[f"{block}.output.dense.weight"] = Shape((width, hidden))
    found, _ = infer_config(shapes, **open_fields(config))
    assert [found.hidden_channels(stage) for stage in range(3)] == [hidden] * 3
