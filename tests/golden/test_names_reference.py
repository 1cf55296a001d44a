"""The modules of other libraries, hooked, under their names there: each finds its partner, none a wrong one.

timm and torchvision are the packages themselves, the others are written once more.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections import OrderedDict
from types import ModuleType

import numpy as np
import pytest
from support import original_models, timm_models
from support.conversion_files import infer_config
from support.families import CLASSES

from npconv import AutoModelForImageClassification
from npconv.convert import convert, translate
from npconv.golden.compare import compare
from npconv.golden.recorders.record_pytorch import record as record_pytorch
from npconv.golden.trace_file import load_trace
from npconv.golden.truth import record

pytestmark = pytest.mark.reference


@pytest.fixture(scope="module")
def torch():
    torch = pytest.importorskip("torch")
    torch.manual_seed(5)
    return torch


def compare_both(golden, mine, dialect, unnamed=()):
    """Every module has a partner, whether the library is told or recognised, and all are right."""
    for names in (dialect, None):
        comparison = compare(golden, mine, names=names)
        assert comparison.first is None, comparison.first
        extra = [name.removesuffix(".grad") for name in comparison.extra]
        assert [name for name in extra if not name.endswith(tuple(unnamed) or " ")] == []
        assert comparison.named.dialect == dialect


def check(torch, model, dialect, folder, unnamed=(), task="image_classification", rename=None, **given):
    """Hook the modules of a model, convert its weights, and compare; of a classifier its gradients too."""
    theirs = {key: value.numpy() for key, value in timm_models.randomize(torch, model).float().state_dict().items()}
    detected = translate.detect(theirs, **({"model_type": given.pop("model_type")} if "model_type" in given else {}))
    ours = translate.to_hugging_face(theirs, detected)
    config, _ = infer_config(ours, dialect=detected, **given)
    pixels = np.random.default_rng(3).standard_normal((2, config.num_channels, 45, 67)).astype(np.float32)
    labels = [3, 1] if task == "image_classification" and rename is None else None
    with record_pytorch(model, folder / "mine.safetensors", gradients=bool(labels)):
        logits = model(torch.from_numpy(pixels))
        if labels:
            torch.nn.functional.cross_entropy(logits, torch.tensor(labels)).backward()
    golden = record(CLASSES[config.model_type, task](config, ours), pixels, gradients=bool(labels), labels=labels)
    mine = load_trace(folder / "mine.safetensors")
    if rename is not None:
        dialect, name = rename
        mine = {name(key): array for key, array in mine.items()}
    compare_both(golden, mine, dialect, unnamed)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"conv_mlp": True},
        {"use_grn": True, "ls_init_value": None},
        {"use_grn": True, "ls_init_value": None, "conv_mlp": True},
        {"stem_type": "overlap"},
        {"stem_type": "overlap_act"},
        {"head_norm_first": True},
        {"head_hidden_size": 9},
    ],
    ids=str,
)
def test_timm(torch, tmp_path, options):
    timm = timm_models.import_timm()
    model = timm.models.convnext.ConvNeXt(num_classes=7, **original_models.STAGES, **options)
    check(torch, model, "timm", tmp_path)


def test_timm_dinov3(torch, tmp_path):
    timm = timm_models.import_timm()
    model = timm.models.convnext.ConvNeXt(num_classes=0, **original_models.STAGES)
    unnamed = ("head", "head.norm", "head.flatten", "head.drop", "head.pre_logits", "head.fc")
    check(torch, model, "timm", tmp_path, unnamed, task="model", model_type="dinov3_convnext")


def test_torchvision(torch, tmp_path, monkeypatch):
    if "NPCONV_TORCHVISION" in os.environ:
        monkeypatch.syspath_prepend(os.environ["NPCONV_TORCHVISION"])
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        monkeypatch.delitem(sys.modules, name)
    # Its compiled operators, which may not fit this PyTorch, are not needed.
    monkeypatch.setitem(sys.modules, "torchvision._meta_registrations", ModuleType("torchvision._meta_registrations"))
    convnext = pytest.importorskip("torchvision.models.convnext")
    depths, dims = original_models.STAGES.values()
    setting = [convnext.CNBlockConfig(*sizes) for sizes in zip(dims, (*dims[1:], None), depths, strict=True)]
    check(torch, convnext.ConvNeXt(setting, num_classes=5), "torchvision", tmp_path)


@pytest.mark.parametrize(("grn", "scale"), [(False, True), (True, False)])
def test_facebook(torch, tmp_path, grn, scale):
    check(torch, original_models.make_original(torch, grn=grn, scale=scale), "facebook", tmp_path)


@pytest.mark.parametrize("cls_token", [False, True])
@pytest.mark.parametrize("method", ["dw_bn", "avg", "linear"])
def test_microsoft(torch, tmp_path, cls_token, method):
    model = original_models.make_microsoft(torch, cls_token=cls_token, method=method, qkv_bias=True)
    given = (
        original_models.STEPS if method == "dw_bn" else original_models.STEPS | {"qkv_projection_method": [method] * 3}
    )
    check(torch, model, "microsoft", tmp_path, (".drop_path", ".mlp.drop"), **given)


@pytest.mark.parametrize("hidden", [0, 9])
def test_open_clip(torch, tmp_path, hidden):
    """Its picture tower is a model of timm, and a head that is written here once more."""
    nn, dims = torch.nn, original_models.STAGES["dims"]
    trunk = timm_models.import_timm().models.convnext.ConvNeXt(num_classes=0, **original_models.STAGES)
    if hidden:
        perceptron = [("fc1", nn.Linear(dims[-1], hidden)), ("act", nn.GELU()), ("drop1", nn.Dropout())]
        perceptron += [("norm", nn.Identity()), ("fc2", nn.Linear(hidden, 5, bias=False)), ("drop2", nn.Dropout())]
        head = [("mlp", nn.Sequential(OrderedDict(perceptron)))]
    else:
        head = [("proj", nn.Linear(dims[-1], 5, bias=False))]
    head = nn.Sequential(OrderedDict([("drop", nn.Dropout()), *head]))
    model = nn.Sequential(OrderedDict(visual=nn.Sequential(OrderedDict(trunk=trunk, head=head))))
    check(torch, model, "open_clip", tmp_path)


def test_mmpretrain(torch, tmp_path):
    """Facebook's model with other names of modules, in a classifier."""
    model = original_models.make_original(torch, grn=True, scale=False)
    renamed = {"dwconv": "depthwise_conv", "pwconv1": "pointwise_conv1", "pwconv2": "pointwise_conv2"}

    def name(text):
        text = re.sub("|".join(renamed), lambda found: renamed[found.group()], text)
        text = "head.fc" if text == "head" else f"backbone.{text}" if text != "pixel_values" else text
        return "backbone.norm3" if text == "backbone.norm" else text

    check(torch, model, "facebook", tmp_path, rename=("mmpretrain", name))


@pytest.mark.filterwarnings("ignore")
def test_keras(torch, tmp_path, monkeypatch):
    pytest.importorskip("h5py")
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras")
    convnext = importlib.import_module("keras.src.applications.convnext")
    depths, dims = original_models.STAGES.values()
    sizes = {"depths": depths, "projection_dims": dims, "default_size": 64, "input_shape": (64, 64, 3)}
    plain = {"classifier_activation": None, "include_preprocessing": False}
    model = convnext.ConvNeXt(**sizes, name="convnext_tiny", weights=None, classes=5, **plain)
    rng = np.random.default_rng(0)
    model.set_weights([rng.normal(w.ndim == 1, 0.3, w.shape).astype(np.float32) for w in model.get_weights()])
    model.save(tmp_path / "convnext_tiny.h5")
    convert(tmp_path / "convnext_tiny.h5", tmp_path / "ours")
    layers = model.layers[1:]
    pixels = rng.normal(size=(2, 3, 64, 64)).astype(np.float32)
    whole = keras.Model(model.input, [layer.output for layer in layers])
    outputs = whole(pixels.transpose(0, 2, 3, 1), training=False)
    mine = {layer.name: np.array(keras.ops.convert_to_numpy(x)) for layer, x in zip(layers, outputs, strict=True)}
    golden = record(AutoModelForImageClassification.from_pretrained(tmp_path / "ours"), pixels)
    compare_both(golden, {"pixel_values": pixels, **mine}, "keras")
