"""The models of Facebook, torchvision and Microsoft, once more, as small as their modules and arithmetic allow."""

from __future__ import annotations

import itertools

STAGES = {"depths": (1, 2, 1, 1), "dims": (8, 12, 16, 20)}

#: What the shapes of a CvT do not say.
STEPS = {
    "num_heads": [2, 3, 4],
    "patch_stride": [4, 2, 2],
    "patch_padding": [2, 1, 1],
    "stride_kv": [2, 2, 2],
    "padding_kv": [1, 1, 1],
}


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

    class Norm2d(nn.LayerNorm):
        def forward(self, x):
            return channels_first_norm(torch, x, self)

    class Block(nn.Module):
        def __init__(self, size):
            super().__init__()
            self.dwconv = nn.Conv2d(size, size, 7, padding=3, groups=size)
            self.norm = nn.LayerNorm(size, eps=1e-6)
            self.pwconv1, self.pwconv2 = nn.Linear(size, 4 * size), nn.Linear(4 * size, size)
            self.act, self.drop_path = nn.GELU(), nn.Identity()
            if grn:
                self.grn = Response(4 * size)
            if scale:
                self.gamma = nn.Parameter(torch.ones(size))

        def forward(self, x):
            y = self.act(self.pwconv1(self.norm(self.dwconv(x).permute(0, 2, 3, 1))))
            y = self.pwconv2(self.grn(y) if grn else y)
            return x + self.drop_path((y * self.gamma if scale else y).permute(0, 3, 1, 2))

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            pairs = [(nn.Conv2d(3, dims[0], 4, 4), Norm2d(dims[0], eps=1e-6))]
            pairs += [(Norm2d(a, eps=1e-6), nn.Conv2d(a, b, 2, 2)) for a, b in itertools.pairwise(dims)]
            self.downsample_layers = nn.ModuleList(nn.Sequential(*pair) for pair in pairs)
            self.stages = nn.ModuleList(
                nn.Sequential(*(Block(size) for _ in range(depth))) for depth, size in zip(depths, dims, strict=True)
            )
            self.norm, self.head = nn.LayerNorm(dims[-1], eps=1e-6), nn.Linear(dims[-1], 7)

        def forward(self, x):
            for downsample, blocks in zip(self.downsample_layers, self.stages, strict=True):
                x = blocks(downsample(x))
            return self.head(self.norm(x.mean((2, 3))))

    return Model()


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


def make_microsoft(torch, *, cls_token: bool, method: str, qkv_bias: bool):
    """Return a model with the names of microsoft/CvT: quick GELU, 2, 3 and 4 heads."""
    nn = torch.nn

    class Tokens(nn.Module):
        def forward(self, x):
            return x.flatten(2).transpose(1, 2)

    class QuickGELU(nn.Module):
        def forward(self, x):
            return x * torch.sigmoid(1.702 * x)

    class Attention(nn.Module):
        def __init__(self, size, heads):
            super().__init__()
            self.heads = heads
            for letter in "qkv":
                setattr(self, f"proj_{letter}", nn.Linear(size, size, bias=qkv_bias))
                look = nn.Sequential()
                if method == "dw_bn":
                    look.add_module("conv", nn.Conv2d(size, size, 3, 1 + (letter != "q"), 1, groups=size, bias=False))
                    look.add_module("bn", nn.BatchNorm2d(size))
                elif method == "avg" and letter != "q":
                    look.add_module("avg", nn.AvgPool2d(3, 2, 1, ceil_mode=True))
                if len(look):
                    look.add_module("rearrage", Tokens())
                setattr(self, f"conv_proj_{letter}", look if len(look) else None)
            self.attn_drop, self.proj_drop = nn.Dropout(), nn.Dropout()
            self.proj = nn.Linear(size, size)

        def look(self, letter, x):
            return (getattr(self, f"conv_proj_{letter}") or Tokens())(x)

        def forward(self, tokens, height, width):
            extra, size = tokens.shape[1] - height * width, tokens.shape[2]
            x = tokens[:, extra:].transpose(1, 2).unflatten(2, (height, width))
            q, k, v = (
                getattr(self, f"proj_{letter}")(torch.cat([tokens[:, :extra], self.look(letter, x)], 1))
                .unflatten(2, (self.heads, -1))
                .transpose(1, 2)
                for letter in "qkv"
            )
            weights = (q @ k.transpose(2, 3) * size**-0.5).softmax(-1)
            return self.proj_drop(self.proj((self.attn_drop(weights) @ v).transpose(1, 2).flatten(2)))

    class Mlp(nn.Module):
        def __init__(self, size):
            super().__init__()
            self.fc1, self.fc2 = nn.Linear(size, 3 * size), nn.Linear(3 * size, size)
            self.act, self.drop = QuickGELU(), nn.Dropout()

        def forward(self, x):
            return self.drop(self.fc2(self.drop(self.act(self.fc1(x)))))

    class Block(nn.Module):
        def __init__(self, size, heads):
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(size), nn.LayerNorm(size)
            self.attn, self.mlp, self.drop_path = Attention(size, heads), Mlp(size), nn.Identity()

        def forward(self, x, height, width):
            x = x + self.drop_path(self.attn(self.norm1(x), height, width))
            return x + self.drop_path(self.mlp(self.norm2(x)))

    class Embedding(nn.Module):
        def __init__(self, channels, size, kernel, stride, padding):
            super().__init__()
            self.proj, self.norm = nn.Conv2d(channels, size, kernel, stride, padding), nn.LayerNorm(size)

        def forward(self, x):
            x = self.proj(x)
            return self.norm(Tokens()(x)).transpose(1, 2).unflatten(2, x.shape[2:])

    class Stage(nn.Module):
        def __init__(self, channels, size, heads, depth, kernel, stride, padding, token):
            super().__init__()
            self.patch_embed = Embedding(channels, size, kernel, stride, padding)
            self.pos_drop = nn.Dropout()
            self.cls_token = nn.Parameter(torch.zeros(1, 1, size)) if token else None
            self.blocks = nn.ModuleList(Block(size, heads) for _ in range(depth))

        def forward(self, x):
            x = self.patch_embed(x)
            height, width = x.shape[2:]
            x = Tokens()(x)
            if self.cls_token is not None:
                x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1)
            x = self.pos_drop(x)
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
            tokens = token if cls_token else Tokens()(x)
            return self.head(self.norm(tokens).mean(1))

    return Model()
