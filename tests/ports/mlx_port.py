"""ConvNeXt in MLX as somebody writes it who knows the checkpoint's names: channels last, a module for each name."""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import mlx.nn as nn


class Block(nn.Module):
    def __init__(self, dim: int, eps: float, approx: str) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(dim, dim, 7, padding=3, groups=dim)
        self.layernorm = nn.LayerNorm(dim, eps=eps)
        self.pwconv1 = nn.Linear(dim, 4 * dim)
        self.act = nn.GELU(approx=approx)
        self.pwconv2 = nn.Linear(4 * dim, dim)
        self.layer_scale_parameter = mx.ones(dim)

    def __call__(self, x: mx.array) -> mx.array:
        y = self.act(self.pwconv1(self.layernorm(self.dwconv(x))))
        return x + self.layer_scale_parameter * self.pwconv2(y)


class Stage(nn.Module):
    def __init__(self, before: int, dim: int, depth: int, stride: int, eps: float, approx: str) -> None:
        super().__init__()
        self.downsampling_layer = (
            [] if stride == 1 else [nn.LayerNorm(before, eps=1e-6), nn.Conv2d(before, dim, stride, stride=stride)]
        )
        self.layers = [Block(dim, eps, approx) for _ in range(depth)]

    def __call__(self, x: mx.array) -> mx.array:
        for layer in (*self.downsampling_layer, *self.layers):
            x = layer(x)
        return x


class Embeddings(nn.Module):
    def __init__(self, channels: int, dim: int, patch: int) -> None:
        super().__init__()
        self.patch_embeddings = nn.Conv2d(channels, dim, patch, stride=patch)
        self.layernorm = nn.LayerNorm(dim, eps=1e-6)

    def __call__(self, x: mx.array) -> mx.array:
        return self.layernorm(self.patch_embeddings(x))


class Encoder(nn.Module):
    def __init__(self, dims: list[int], depths: list[int], eps: float, approx: str) -> None:
        super().__init__()
        before = [dims[0], *dims]
        self.stages = [
            Stage(before[i], dim, depth, 1 if i == 0 else 2, eps, approx)
            for i, (dim, depth) in enumerate(zip(dims, depths, strict=True))
        ]

    def __call__(self, x: mx.array) -> mx.array:
        for stage in self.stages:
            x = stage(x)
        return x


class ConvNeXt(nn.Module):
    """Takes pictures (N, H, W, C) and gives logits; `eps` is that of the blocks' norms."""

    def __init__(
        self, dims: list[int], depths: list[int], classes: int, eps: float = 1e-6, approx: str = "none"
    ) -> None:
        super().__init__()
        self.embeddings = Embeddings(3, dims[0], 4)
        self.encoder = Encoder(dims, depths, eps, approx)
        self.layernorm = nn.LayerNorm(dims[-1], eps=1e-12)
        self.classifier = nn.Linear(dims[-1], classes)

    def __call__(self, x: mx.array) -> mx.array:
        x = self.encoder(self.embeddings(x))
        return self.classifier(self.layernorm(x.mean(axis=(1, 2))))


def load(checkpoint: str, **mistakes: Any) -> ConvNeXt:
    """Return the model with the weights of a folder in the layout of Hugging Face."""
    import json
    from pathlib import Path

    config = json.loads((Path(checkpoint) / "config.json").read_text())
    weights = mx.load(str(Path(checkpoint) / "model.safetensors"))
    classes = weights["classifier.bias"].size
    model = ConvNeXt(config["hidden_sizes"], config["depths"], classes, **mistakes)
    own = {name.removeprefix("convnext."): value for name, value in weights.items()}
    model.load_weights([(name, _channels_last(value)) for name, value in own.items()])
    return model


def _channels_last(value: mx.array) -> mx.array:
    return value.transpose(0, 2, 3, 1) if value.ndim == 4 else value
