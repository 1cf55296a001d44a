"""The models of Facebook, torchvision and Microsoft, converted: npconv gives the same logits."""

from __future__ import annotations

import numpy as np
import pytest
from support.original_models import make_microsoft, make_original, make_torchvision
from support.timm_models import randomize
from test_dialects_reference import STEPS, TOLERANCE, check, convert

import npconv

pytestmark = pytest.mark.reference


@pytest.fixture(scope="module")
def torch():
    torch = pytest.importorskip("torch")
    torch.manual_seed(6)
    return torch


@pytest.mark.parametrize(("grn", "scale"), [(False, True), (False, False), (True, False)])
def test_facebook(torch, grn, scale):
    check(torch, make_original(torch, grn=grn, scale=scale), "facebook")


def test_fcmae_gives_the_maps_of_the_dense_model(torch):
    """The kernels as the sparse library stores them, made here from those of a dense convolution by their meaning."""
    model = randomize(torch, make_original(torch, grn=True, scale=False))
    theirs = {}
    for name, value in model.state_dict().items():
        tensor, parts = value.numpy(), name.split(".")
        if parts[0] in ("norm", "head"):
            continue
        is_norm = parts[-2] == "norm" or (parts[0] == "downsample_layers" and parts[1] != "0" and parts[2] == "0")
        if is_norm:
            parts.insert(-1, "ln")
        elif parts[-2].startswith("pwconv"):
            parts.insert(-1, "linear")
        elif parts[-2] == "grn":
            tensor = tensor[0, 0]
        elif tensor.ndim == 4 and name != "downsample_layers.0.0.weight":
            parts[-1] = "kernel"
            # Position x * k + y of the kernel is its column x and row y.
            columns = [tensor[:, :, y, x].T for x in range(tensor.shape[3]) for y in range(tensor.shape[2])]
            tensor = np.stack(columns)[:, 0] if "dwconv" in parts else np.stack(columns)
        theirs[".".join(["encoder", *parts])] = tensor
    detected, ours, config, _ = convert(theirs)
    assert detected.name == "fcmae"
    pixels = np.random.default_rng(3).standard_normal((2, 3, 37, 41))
    model.norm, model.head = torch.nn.LayerNorm(20, eps=1e-6).double(), torch.nn.Identity()
    with torch.no_grad():
        expected = model(torch.from_numpy(pixels)).numpy()
    found = npconv.ConvNextV2Model(config, ours, dtype="float64")(pixels).pooler_output
    assert np.abs(found - expected).max() <= TOLERANCE * np.abs(expected).max()


def test_torchvision(torch):
    check(torch, make_torchvision(torch), "torchvision")


@pytest.mark.parametrize("cls_token", [False, True])
@pytest.mark.parametrize(("method", "qkv_bias"), [("dw_bn", True), ("dw_bn", False), ("avg", True), ("linear", True)])
def test_microsoft(torch, cls_token, method, qkv_bias):
    model = make_microsoft(torch, cls_token=cls_token, method=method, qkv_bias=qkv_bias)
    given = STEPS if method == "dw_bn" else STEPS | {"qkv_projection_method": [method] * 3}
    config, reasons = check(torch, model, "microsoft", size=(61, 75), **given)
    assert config.hidden_act == "quick_gelu"
    assert "hidden_act quick_gelu: what microsoft computes with" in reasons
