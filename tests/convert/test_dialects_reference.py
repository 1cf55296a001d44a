"""Weights of timm and transformers, converted: npconv gives the same logits."""

from __future__ import annotations

import numpy as np
import pytest
from support import fast_models, timm_models
from support.conversion_files import infer_config
from support.families import CLASSES
from support.original_models import STAGES, STEPS

import npconv
from npconv.convert import OpenFieldsError, dialects, translate
from npconv.models.convnext.names import TIMM_ARCHITECTURES

pytestmark = pytest.mark.reference

#: The bound of the float64 comparisons with transformers: relative to the largest logit.
TOLERANCE = 1e-10


@pytest.fixture(scope="module")
def torch():
    torch = pytest.importorskip("torch")
    torch.manual_seed(5)
    return torch


@pytest.fixture(scope="module")
def timm(torch):
    return timm_models.import_timm()


def check(torch, model, name, size=(37, 41), **given):
    """Convert a model's weights; compare the logits and the way back."""
    timm_models.randomize(torch, model)
    theirs = {key: value.numpy() for key, value in model.state_dict().items()}
    detected, ours, config, reasons = convert(theirs, **given)
    assert detected.name == name
    back = translate.from_hugging_face(ours, detected)
    assert sorted(back) == sorted(theirs)
    for key, value in theirs.items():
        np.testing.assert_array_equal(back[key], value)
    pixels = np.random.default_rng(3).standard_normal((2, config.num_channels, *size))
    with torch.no_grad():
        expected = model(torch.from_numpy(pixels))
    expected = getattr(expected, "logits", expected).numpy()
    ours_model = classes(config)(config, ours, dtype="float64")
    found = ours_model(pixels).logits
    distance = np.abs(found - expected).max() / np.abs(expected).max()
    print(f"\n{name}: {distance:.1e}")
    assert distance <= TOLERANCE
    return config, reasons


def classes(config):
    return CLASSES[config.model_type, "image_classification"]


@pytest.mark.parametrize("use_grn", [False, True])
@pytest.mark.parametrize("conv_mlp", [False, True])
@pytest.mark.parametrize("patch_size", [4, 7, 8, 16, 2])
def test_timm(torch, timm, use_grn, conv_mlp, patch_size):
    from timm.models.convnext import ConvNeXt

    scale = None if use_grn else 1e-6
    model = ConvNeXt(
        num_classes=7, use_grn=use_grn, conv_mlp=conv_mlp, ls_init_value=scale, patch_size=patch_size, **STAGES
    )
    if patch_size == 2:  # the first stage begins with a downsampling
        theirs = {key: value.numpy() for key, value in model.state_dict().items()}
        with pytest.raises(translate.UnsupportedError) as caught:
            translate.detect(theirs)
        assert caught.value.option == "patch_size=2"
        return
    config, _ = check(torch, model, "timm", size=(113, 75))
    dilates = [stage.downsample[1].stride == (1, 1) for stage in model.stages[1:]]
    assert dilates == [apart > 1 for apart in config.stage_dilations[1:]]
    assert sum(dilates) == {4: 0, 7: 0, 8: 1, 16: 2}[patch_size]


@pytest.mark.parametrize("name", ["convnext_atto", "convnextv2_atto"])
def test_timm_by_name(torch, timm, name):
    config, reasons = check(torch, timm.create_model(name, num_classes=5), "timm", size=(64, 33))
    assert config.hidden_sizes == [40, 80, 160, 320]
    assert (
        "image_size 224: not in the shapes; that of "
        + {
            "convnext_atto": "ConvNeXt atto",
            "convnextv2_atto": "ConvNeXt V2 atto",
        }[name]
        in reasons
    )


PATTERNS = ["convnext*", "convnextv2*", "test_convnext*"]


@pytest.mark.parametrize("stem_type", ["patch", "overlap", "overlap_tiered", "overlap_act"])
@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"conv_bias": False}, translate.UnsupportedError),
        ({"norm_layer": "rmsnorm2d", "conv_mlp": True}, OpenFieldsError),
        ({"norm_layer": "simplenorm", "conv_mlp": True}, OpenFieldsError),
    ],
)
def test_what_timm_has_and_npconv_has_not_or_must_be_told(timm, options, stem_type, error):
    theirs = timm.models.convnext.ConvNeXt(**STAGES, stem_type=stem_type, **options).state_dict()
    with pytest.raises(error, match=r"conv_bias=False|norm_type=rms_norm"):
        convert({key: value.numpy() for key, value in theirs.items()})


@pytest.mark.parametrize("use_grn", [False, True])
@pytest.mark.parametrize("options", timm_models.OPTIONS)
def test_timm_options(torch, timm, use_grn, options):
    theirs, given = timm_models.OPTIONS[options]
    scale = None if use_grn else 1e-6
    model = timm.models.convnext.ConvNeXt(
        **{"num_classes": 7, **STAGES, **theirs}, use_grn=use_grn, ls_init_value=scale
    )
    check(torch, model, "timm", **given)


def convert(theirs, **given):
    """Return what a converter does: dialect, tensors, configuration and reasons."""
    detected = translate.detect(theirs)
    ours = translate.to_hugging_face(theirs, detected)
    return detected, ours, *infer_config(ours, dialect=detected, **given)


@pytest.fixture(scope="module")
def inferred(torch, timm):
    """Return every variant and the configuration by the shapes of the published one, or the option it is refused by."""
    found = {}
    for name in timm.list_models(PATTERNS):
        with torch.device("meta"):
            model = timm.create_model(name)
        tensors = {key: np.broadcast_to(np.float32(0), tuple(value.shape)) for key, value in model.state_dict().items()}
        found[name] = model, convert(tensors)[2]
    return found


def test_every_timm_model_is_converted(inferred):
    assert len(inferred) == 31


def test_every_variant_can_be_written_as_timm_has_it(inferred):
    """The names and shapes follow from the tensors alone, and no other file's choices."""
    for name, (model, config) in inferred.items():
        shapes = classes(config).parameter_shapes(config)
        ours = {key: np.broadcast_to(np.float32(0), shape) for key, shape in shapes.items()}
        written = translate.from_hugging_face(ours, dialects.dialect("timm", ours))
        found = {key: tuple(value.shape) for key, value in written.items()}
        assert found == {key: tuple(value.shape) for key, value in model.state_dict().items()}, name


#: Their activations by the names that a configuration has for them.
ACTIVATIONS = {"GELU": "gelu", "GELUTanh": "gelu_pytorch_tanh", "SiLU": "silu"}


#: Their norms by the names that a configuration has for them.
NORMS = {"LayerNorm": "layer_norm", "RmsNorm": "rms_norm", "SimpleNorm": "simple_norm"}


def test_numbers_that_no_shape_shows_are_those_of_timm(inferred):
    for name, (model, config) in inferred.items():
        norms = [module for module in model.modules() if type(module).__name__.startswith(tuple(NORMS))]
        assert {module.eps for module in norms} == {config.norm_eps, config.layer_norm_eps}, name
        assert {NORMS[type(module).__name__.removesuffix("2d")] for module in norms} == {config.norm_type}, name
        acts = {type(block.mlp.act).__name__ for stage in model.stages for block in stage.blocks}
        assert [ACTIVATIONS[act] for act in acts] == [config.hidden_act], name
        hidden = getattr(model.head, "pre_logits", None)
        if config.head_hidden_size is not None:
            assert type(hidden.act).__name__ == "GELU"


def timm_names():
    """Return the names of timm's variants, for machines that have no timm to ask."""
    return [
        *(f"convnext_{size}{end}" for size in ("atto", "femto", "pico", "nano") for end in ("", "_ols")),
        *(f"convnext_{size}" for size in ("tiny", "tiny_hnf", "small", "base", "large", "large_mlp", "xlarge")),
        *("convnext_zepto_rms", "convnext_zepto_rms_ols", "convnext_atto_rms"),
        *("convnext_xxlarge", "test_convnext", "test_convnext2", "test_convnext3"),
        *(f"convnextv2_{size}" for size in ("atto", "femto", "pico", "nano", "tiny", "small", "base", "large", "huge")),
    ]


def test_the_names_are_all_of_timms(timm):
    assert sorted(timm_names()) == sorted(timm.list_models(PATTERNS)) == sorted(TIMM_ARCHITECTURES)


@pytest.mark.parametrize("name", timm_names())
def test_a_variant_of_timm(torch, timm, inferred, name):
    """Each with the options of its name, made tiny: logits, the way back, the fast engine and the golden trace."""
    _, published = inferred[name]
    model = timm.create_model(name, num_classes=7, depths=(1, 2, 1, 1), dims=(24, 12, 16, 20))
    given = {name: getattr(published, name) for name in ("norm_eps", "hidden_act", "norm_type")}
    config, _ = check(torch, model, "timm", **given)
    for field in ("stem_type", "head_norm_first", "head_hidden_size", "kernel_sizes"):
        assert getattr(config, field) == getattr(published, field)

    _, ours, *_ = convert({key: value.numpy() for key, value in model.state_dict().items()}, **given)
    tensors = {key: value.astype(np.float32) for key, value in ours.items()}
    pixels = fast_models.pictures((2, 3, 37, 41))
    truth = fast_models.outputs_of(classes(config)(config, tensors, dtype="float64"), pixels)
    fast = fast_models.outputs_of(classes(config)(config, tensors, engine="fast"), pixels)
    rounding = fast_models.rounding_of(classes(config), config, tensors, pixels)
    assert fast_models.farthest(fast, truth) <= max(fast_models.SLACK * rounding, fast_models.LEAST_BOUND)

    explicit = classes(config)(config, tensors)
    reference = npconv.golden.record(explicit, pixels)
    with npconv.golden.trace() as mine:
        explicit(pixels)
    comparison = npconv.golden.compare(reference, mine)
    assert comparison.first is None
    assert len(comparison.differences) == len(reference)


@pytest.mark.parametrize("projection", ["proj", "mlp"])
@pytest.mark.parametrize("options", [{}, {"stem_type": "overlap_tiered", "head_norm_first": True, "norm_eps": 1e-5}])
def test_open_clip(torch, timm, projection, options):
    from timm.layers import Mlp
    from timm.models.convnext import ConvNeXt

    class Picture(torch.nn.Module):
        """A trunk without classifier, then a projection without bias, or two layers of which the last has none."""

        def __init__(self):
            super().__init__()
            self.visual = torch.nn.Module()
            self.visual.trunk = ConvNeXt(num_classes=0, **STAGES, **options)
            self.visual.head = torch.nn.Sequential()
            linear = torch.nn.Linear(20, 6, bias=False)
            self.visual.head.add_module(
                projection, linear if projection == "proj" else Mlp(20, 12, 6, bias=(True, False))
            )

        def forward(self, x):
            return self.visual.head(self.visual.trunk(x))

    check(torch, Picture(), "open_clip", **{"norm_eps": options.get("norm_eps", 1e-6)})


@pytest.mark.parametrize("family", ["ConvNext", "ConvNextV2", "Cvt"])
def test_transformers(torch, family):
    transformers = pytest.importorskip("transformers")
    staged = {"hidden_sizes": [8, 12, 16], "depths": [1, 2, 1], "num_stages": 3, "num_labels": 5}
    tokens = {"embed_dim": [8, 12, 16], "depth": [1, 2, 3], "num_heads": [2, 3, 4], "num_labels": 5}
    config = getattr(transformers, f"{family}Config")(**(tokens if family == "Cvt" else staged))
    model = getattr(transformers, f"{family}ForImageClassification")(config)
    given = STEPS if family == "Cvt" else {}
    check(torch, model, "huggingface", **given)
