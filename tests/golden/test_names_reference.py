"""The modules of other libraries, hooked, under their names there: each finds its partner, none a wrong one.

timm and torchvision are the packages themselves, the others are written once more.
"""

from __future__ import annotations

import os
import sys
from types import ModuleType

import numpy as np
import pytest
from support import original_models, timm_models
from support.conversion_files import infer_config
from support.families import CLASSES

from npconv.convert import translate
from npconv.golden.compare import compare
from npconv.golden.recorders.record_pytorch import record as record_pytorch
from npconv.golden.trace_file import load_trace
from npconv.golden.truth import record

pytestmark = pytest.mark.reference

#: What the shapes of a CvT do not say.
STEPS = {
    "num_heads": [2, 3, 4],
    "patch_stride": [4, 2, 2],
    "patch_padding": [2, 1, 1],
    "stride_kv": [2, 2, 2],
    "padding_kv": [1, 1, 1],
}


@pytest.fixture(scope="module")
def torch():
    torch = pytest.importorskip("torch")
    torch.manual_seed(5)
    return torch


def check(torch, model, dialect, folder, unnamed=(), task="image_classification", **given):
    """Every module has a partner, whether the library is told or recognised, and all are right."""
    theirs = {key: value.numpy() for key, value in timm_models.randomize(torch, model).float().state_dict().items()}
    detected = translate.detect(theirs, **({"model_type": given.pop("model_type")} if "model_type" in given else {}))
    ours = translate.to_hugging_face(theirs, detected)
    config, _ = infer_config(ours, dialect=detected, **given)
    pixels = np.random.default_rng(3).standard_normal((2, config.num_channels, 45, 67)).astype(np.float32)
    with record_pytorch(model, folder / "mine.safetensors"), torch.no_grad():
        model(torch.from_numpy(pixels))
    golden = record(CLASSES[config.model_type, task](config, ours), pixels)
    mine = load_trace(folder / "mine.safetensors")
    for names in (dialect, None):
        comparison = compare(golden, mine, names=names)
        assert comparison.first is None, comparison.first
        assert [name for name in comparison.extra if not name.endswith(tuple(unnamed) or " ")] == []
        assert comparison.named.dialect == dialect


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
    given = STEPS if method == "dw_bn" else STEPS | {"qkv_projection_method": [method] * 3}
    check(torch, model, "microsoft", tmp_path, (".drop_path", ".mlp.drop"), **given)
