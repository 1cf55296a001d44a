"""The models of Facebook, torchvision and Microsoft, converted: npconv gives the same logits.

They are written here once more, as small as their names and arithmetic allow.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from support.timm_models import randomize
from test_dialects_reference import STAGES, STEPS, TOLERANCE, check, convert

import npconv

pytestmark = pytest.mark.reference


@pytest.fixture(scope="module")
def torch():
    torch = pytest.importorskip("torch")
    torch.manual_seed(6)
    return torch


def channels_first_norm(torch, x, norm):
    return torch.nn.functional.layer_norm(
        x.permute(0, 2, 3, 1), norm.weight.shape, norm.weight, norm.bias, norm.eps
    ).permute(0, 3, 1, 2)


def make_original(torch, *, grn: bool, scale: bool):
    """Return a model with the names of facebookresearch/ConvNeXt or ConvNeXt-V2."""
    nn, (depths, dims) = torch.nn, STAGES.values()

    class Response(nn.Module):
        def __init__(self, size):
            super().__init__()
            self.gamma = nn.Parameter(torch.zeros(1, 1, 1, size))
            self.beta = nn.Parameter(torch.zeros(1, 1, 1, size))

        def forward(self, x):
            strength = x.square().sum((1, 2), keepdim=True).sqrt()
            return self.gamma * (x * strength / (strength.mean(-1, keepdim=True) + 1e-6)) + self.beta + x

    class Block(nn.Module):
        def __init__(self, size):
            super().__init__()
            self.dwconv = nn.Conv2d(size, size, 7, padding=3, groups=size)
            self.norm = nn.LayerNorm(size, eps=1e-6)
            self.pwconv1, self.pwconv2 = nn.Linear(size, 4 * size), nn.Linear(4 * size, size)
            if grn:
                self.grn = Response(4 * size)
            if scale:
                self.gamma = nn.Parameter(torch.ones(size))

        def forward(self, x):
            y = nn.functional.gelu(self.pwconv1(self.norm(self.dwconv(x).permute(0, 2, 3, 1))))
            y = self.pwconv2(self.grn(y) if grn else y)
            return x + (y * self.gamma if scale else y).permute(0, 3, 1, 2)

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            pairs = [(nn.Conv2d(3, dims[0], 4, 4), nn.LayerNorm(dims[0], eps=1e-6))]
            pairs += [(nn.LayerNorm(a, eps=1e-6), nn.Conv2d(a, b, 2, 2)) for a, b in itertools.pairwise(dims)]
            self.downsample_layers = nn.ModuleList(nn.ModuleList(pair) for pair in pairs)
            self.stages = nn.ModuleList(
                nn.Sequential(*(Block(size) for _ in range(depth))) for depth, size in zip(depths, dims, strict=True)
            )
            self.norm, self.head = nn.LayerNorm(dims[-1], eps=1e-6), nn.Linear(dims[-1], 7)

        def forward(self, x):
            for (first, second), blocks in zip(self.downsample_layers, self.stages, strict=True):
                for part in (first, second):
                    is_norm = isinstance(part, nn.LayerNorm)
                    x = channels_first_norm(torch, x, part) if is_norm else part(x)
                x = blocks(x)
            return self.head(self.norm(x.mean((2, 3))))

    return Model()


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


def make_torchvision(torch):
    """Return a model with the names of torchvision's ConvNeXt."""
    nn, (depths, dims) = torch.nn, STAGES.values()

    class Norm2d(nn.LayerNorm):
        def forward(self, x):
            return channels_first_norm(torch, x, self)

    class Permute(nn.Module):
        def __init__(self, *axes):
            super().__init__()
            self.axes = axes

        def forward(self, x):
            return x.permute(self.axes)

    class Block(nn.Module):
        def __init__(self, size):
            super().__init__()
            self.block = nn.Sequential(
                nn.Conv2d(size, size, 7, padding=3, groups=size),
                Permute(0, 2, 3, 1),
                nn.LayerNorm(size, eps=1e-6),
                nn.Linear(size, 4 * size),
                nn.GELU(),
                nn.Linear(4 * size, size),
                Permute(0, 3, 1, 2),
            )
            self.layer_scale = nn.Parameter(torch.ones(size, 1, 1))

        def forward(self, x):
            return x + self.layer_scale * self.block(x)

    parts = [nn.Sequential(nn.Conv2d(3, dims[0], 4, 4), Norm2d(dims[0], eps=1e-6))]
    for index, (depth, size) in enumerate(zip(depths, dims, strict=True)):
        if index:
            before = dims[index - 1]
            parts.append(nn.Sequential(Norm2d(before, eps=1e-6), nn.Conv2d(before, size, 2, 2)))
        parts.append(nn.Sequential(*(Block(size) for _ in range(depth))))
    model = nn.Sequential()
    model.add_module("features", nn.Sequential(*parts))
    model.add_module("avgpool", nn.AdaptiveAvgPool2d(1))
    head = (Norm2d(dims[-1], eps=1e-6), nn.Flatten(1), nn.Linear(dims[-1], 7))
    model.add_module("classifier", nn.Sequential(*head))
    return model


def test_torchvision(torch):
    check(torch, make_torchvision(torch), "torchvision")


def make_microsoft(torch, *, cls_token: bool, method: str, qkv_bias: bool):
    """Return a model with the names of microsoft/CvT: quick GELU, 2, 3 and 4 heads."""
    nn = torch.nn

    class Attention(nn.Module):
        def __init__(self, size, heads):
            super().__init__()
            self.heads = heads
            for letter in "qkv":
                setattr(self, f"proj_{letter}", nn.Linear(size, size, bias=qkv_bias))
                if method == "dw_bn":
                    conv = nn.Sequential()
                    conv.add_module("conv", nn.Conv2d(size, size, 3, 1 + (letter != "q"), 1, groups=size, bias=False))
                    conv.add_module("bn", nn.BatchNorm2d(size))
                    setattr(self, f"conv_proj_{letter}", conv)
            self.proj = nn.Linear(size, size)

        def look(self, letter, x):
            if method == "dw_bn":
                return getattr(self, f"conv_proj_{letter}")(x)
            return x if method == "linear" or letter == "q" else nn.functional.avg_pool2d(x, 3, 2, 1, ceil_mode=True)

        def forward(self, tokens, height, width):
            extra, size = tokens.shape[1] - height * width, tokens.shape[2]
            x = tokens[:, extra:].transpose(1, 2).unflatten(2, (height, width))
            q, k, v = (
                getattr(self, f"proj_{letter}")(
                    torch.cat([tokens[:, :extra], self.look(letter, x).flatten(2).transpose(1, 2)], 1)
                )
                .unflatten(2, (self.heads, -1))
                .transpose(1, 2)
                for letter in "qkv"
            )
            weights = (q @ k.transpose(2, 3) * size**-0.5).softmax(-1)
            return self.proj((weights @ v).transpose(1, 2).flatten(2))

    class Mlp(nn.Module):
        def __init__(self, size):
            super().__init__()
            self.fc1, self.fc2 = nn.Linear(size, 3 * size), nn.Linear(3 * size, size)

        def forward(self, x):
            x = self.fc1(x)
            return self.fc2(x * torch.sigmoid(1.702 * x))

    class Block(nn.Module):
        def __init__(self, size, heads):
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(size), nn.LayerNorm(size)
            self.attn, self.mlp = Attention(size, heads), Mlp(size)

        def forward(self, x, height, width):
            x = x + self.attn(self.norm1(x), height, width)
            return x + self.mlp(self.norm2(x))

    class Stage(nn.Module):
        def __init__(self, channels, size, heads, depth, kernel, stride, padding, token):
            super().__init__()
            self.patch_embed = nn.Module()
            self.patch_embed.proj = nn.Conv2d(channels, size, kernel, stride, padding)
            self.patch_embed.norm = nn.LayerNorm(size)
            self.cls_token = nn.Parameter(torch.zeros(1, 1, size)) if token else None
            self.blocks = nn.ModuleList(Block(size, heads) for _ in range(depth))

        def forward(self, x):
            x = channels_first_norm(torch, self.patch_embed.proj(x), self.patch_embed.norm)
            height, width = x.shape[2:]
            x = x.flatten(2).transpose(1, 2)
            if self.cls_token is not None:
                x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1)
            for block in self.blocks:
                x = block(x, height, width)
            count = x.shape[1] - height * width
            return x[:, count:].transpose(1, 2).unflatten(2, (height, width)), x[:, :count]

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.stage0 = Stage(3, 8, 2, 1, 7, 4, 2, False)
            self.stage1 = Stage(8, 12, 3, 2, 3, 2, 1, False)
            self.stage2 = Stage(12, 16, 4, 2, 3, 2, 1, cls_token)
            self.norm, self.head = nn.LayerNorm(16), nn.Linear(16, 5)

        def forward(self, x):
            for stage in (self.stage0, self.stage1, self.stage2):
                x, token = stage(x)
            tokens = token if cls_token else x.flatten(2).transpose(1, 2)
            return self.head(self.norm(tokens).mean(1))

    return Model()


@pytest.mark.parametrize("cls_token", [False, True])
@pytest.mark.parametrize(("method", "qkv_bias"), [("dw_bn", True), ("dw_bn", False), ("avg", True), ("linear", True)])
def test_microsoft(torch, cls_token, method, qkv_bias):
    model = make_microsoft(torch, cls_token=cls_token, method=method, qkv_bias=qkv_bias)
    given = STEPS if method == "dw_bn" else STEPS | {"qkv_projection_method": [method] * 3}
    config, reasons = check(torch, model, "microsoft", size=(61, 75), **given)
    assert config.hidden_act == "quick_gelu"
    assert "hidden_act quick_gelu: what microsoft computes with" in reasons
