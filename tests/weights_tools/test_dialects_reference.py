"""Weights of timm and transformers, converted: npconv gives the same logits."""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import sys
from types import ModuleType

import numpy as np
import pytest

import npconv
from weights_tools import dialects

pytestmark = pytest.mark.reference

#: The bound of the float64 comparisons with transformers: relative to the largest logit.
TOLERANCE = 1e-10

#: What the shapes of a CvT do not say.
STEPS = {
    "num_heads": [2, 3, 4],
    "patch_stride": [4, 2, 2],
    "patch_padding": [2, 1, 1],
    "stride_kv": [2, 2, 2],
    "padding_kv": [1, 1, 1],
}

STAGES = {"depths": (1, 2, 1, 1), "dims": (8, 12, 16, 20)}


@pytest.fixture(scope="module")
def torch():
    torch = pytest.importorskip("torch")
    torch.manual_seed(5)
    return torch


class _Anything(type):
    """Classes that have every attribute, as an enumeration or a base class may be asked for."""

    def __getattr__(cls, name: str):
        if name.startswith("__"):
            raise AttributeError(name)
        return f"{cls.__name__}.{name}"


class _EmptyModule(ModuleType):
    """A module in which every name is a class."""

    def __getattr__(self, name: str):
        if name.startswith("__"):
            raise AttributeError(name)
        return _Anything(name, (), {})


class _EmptyTorchvision:
    """Finds every module of torchvision, as an empty one."""

    def find_spec(self, name, path=None, target=None):
        return importlib.machinery.ModuleSpec(name, self, is_package=True) if _is_torchvision(name) else None

    def create_module(self, spec):
        return _EmptyModule(spec.name)

    def exec_module(self, module):
        pass


def _is_torchvision(name: str) -> bool:
    return name.partition(".")[0] == "torchvision"


@pytest.fixture(scope="module")
def timm(torch):
    """Return timm; where torchvision is not installed, with an empty one, of which these models use nothing."""
    if importlib.util.find_spec("timm") is None:
        pytest.skip("timm is not installed")
    if importlib.util.find_spec("torchvision") is not None:
        return importlib.import_module("timm")
    finder = _EmptyTorchvision()
    sys.meta_path.append(finder)
    try:
        return importlib.import_module("timm")
    finally:  # nothing else must take it for the real one
        sys.meta_path.remove(finder)
        for name in [name for name in sys.modules if _is_torchvision(name)]:
            del sys.modules[name]


def randomize(torch, model):
    """Give every tensor values that show a mistake: norms and scales near 1, not 0 or 1."""
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 1.5)
            elif tensor.is_floating_point():
                fan = tensor[0].numel() if tensor.ndim > 1 else 1
                tensor.normal_(0, fan**-0.5 if tensor.ndim > 1 else 0.3)
                if tensor.ndim == 1 and name.endswith("weight"):
                    tensor.add_(1)
    return model.double().eval()


def check(torch, model, name, size=(37, 41), **given):
    """Convert a model's weights; compare the logits and the way back."""
    randomize(torch, model)
    theirs = {key: value.numpy() for key, value in model.state_dict().items()}
    detected, ours, config, reasons = convert(theirs, **given)
    assert detected.name == name
    back = dialects.from_hugging_face(ours, detected)
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
    return {
        "convnext": npconv.ConvNextForImageClassification,
        "convnextv2": npconv.ConvNextV2ForImageClassification,
        "cvt": npconv.CvtForImageClassification,
    }[config.model_type]


@pytest.mark.parametrize("use_grn", [False, True])
@pytest.mark.parametrize("conv_mlp", [False, True])
@pytest.mark.parametrize("patch_size", [4, 2])
def test_timm(torch, timm, use_grn, conv_mlp, patch_size):
    from timm.models.convnext import ConvNeXt

    scale = None if use_grn else 1e-6
    model = ConvNeXt(
        num_classes=7, use_grn=use_grn, conv_mlp=conv_mlp, ls_init_value=scale, patch_size=patch_size, **STAGES
    )
    if patch_size == 2:  # timm makes the first stage begin with a downsampling then
        theirs = {key: value.numpy() for key, value in model.state_dict().items()}
        with pytest.raises(npconv.errors.WeightsError, match=r"stages\.0\.downsample"):
            dialects.to_hugging_face(theirs, dialects.detect(theirs))
        return
    check(torch, model, "timm")


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


REFUSED = [
    ("convnext_atto_ols", {}, "stem_type='overlap' or 'overlap_tiered'"),
    ("convnext_nano_ols", {}, "stem_type='overlap' or 'overlap_tiered'"),
    ("convnext_zepto_rms_ols", {}, "stem_type='overlap_act'"),
    ("convnext_zepto_rms", {}, "norm_layer='rmsnorm2d' or 'simplenorm'"),
    ("convnext_atto_rms", {}, "norm_layer='rmsnorm2d' or 'simplenorm'"),
    ("convnext_atto", {"head_norm_first": True}, "head_norm_first=True"),
    ("convnext_atto", {"head_hidden_size": 11}, "head_hidden_size"),
    ("convnext_atto", {"conv_bias": False}, "conv_bias=False"),
    ("test_convnext3", {}, "kernel_sizes"),
    ("test_convnext", {}, "norm_eps=1e-5"),
    ("test_convnext2", {}, "norm_eps=1e-5"),
]


@pytest.mark.parametrize(("name", "options", "option"), REFUSED)
def test_what_timm_has_and_npconv_has_not(timm, name, options, option):
    theirs = timm.create_model(name, **options).state_dict()
    with pytest.raises(dialects.UnsupportedError) as caught:
        convert({key: value.numpy() for key, value in theirs.items()})
    assert caught.value.option == option


def convert(theirs, **given):
    """Return what a converter does: dialect, tensors, configuration and reasons."""
    detected = dialects.detect(theirs)
    ours = dialects.to_hugging_face(theirs, detected)
    return detected, ours, *dialects.infer_config(ours, dialect=detected, **given)


def test_every_timm_model_is_told_apart(torch, timm):
    """The shapes of all published variants: each is converted or refused with the option that stands in its name."""
    refused = {}
    for name in timm.list_models(["convnext_*", "convnextv2_*", "test_convnext*"]):
        with torch.device("meta"):
            theirs = timm.create_model(name).state_dict()
        tensors = {key: np.broadcast_to(np.float32(0), tuple(value.shape)) for key, value in theirs.items()}
        try:
            convert(tensors)
        except dialects.UnsupportedError as error:
            refused[name] = error.option
    assert sorted(refused) == [
        "convnext_atto_ols",
        "convnext_atto_rms",
        "convnext_femto_ols",
        "convnext_large_mlp",
        "convnext_nano_ols",
        "convnext_pico_ols",
        "convnext_tiny_hnf",
        "convnext_xxlarge",
        "convnext_zepto_rms",
        "convnext_zepto_rms_ols",
        "test_convnext",
        "test_convnext2",
        "test_convnext3",
    ]


def test_open_clip(torch, timm):
    from timm.models.convnext import ConvNeXt

    class Picture(torch.nn.Module):
        """A trunk without classifier, then a projection without bias."""

        def __init__(self):
            super().__init__()
            self.visual = torch.nn.Module()
            self.visual.trunk = ConvNeXt(num_classes=0, **STAGES)
            self.visual.head = torch.nn.Sequential()
            self.visual.head.add_module("proj", torch.nn.Linear(20, 6, bias=False))

        def forward(self, x):
            return self.visual.head(self.visual.trunk(x))

    check(torch, Picture(), "open_clip")


@pytest.mark.parametrize("family", ["ConvNext", "ConvNextV2", "Cvt"])
def test_transformers(torch, family):
    transformers = pytest.importorskip("transformers")
    staged = {"hidden_sizes": [8, 12, 16], "depths": [1, 2, 1], "num_stages": 3, "num_labels": 5}
    tokens = {"embed_dim": [8, 12, 16], "depth": [1, 2, 3], "num_heads": [2, 3, 4], "num_labels": 5}
    config = getattr(transformers, f"{family}Config")(**(tokens if family == "Cvt" else staged))
    model = getattr(transformers, f"{family}ForImageClassification")(config)
    given = STEPS if family == "Cvt" else {}
    check(torch, model, "huggingface", **given)
