"""ConvNeXt in tinygrad as somebody writes it for inference: functions over a dictionary of weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from tinygrad import Tensor


def exact_gelu(x: Tensor) -> Tensor:
    return x * 0.5 * (1 + (x / 2**0.5).erf())


def run(
    weights: Mapping[str, np.ndarray],
    pixel_values: np.ndarray,
    depths: Sequence[int],
    *,
    gelu: Callable[[Tensor], Tensor] = exact_gelu,
    last_eps: float = 1e-12,
) -> dict[str, np.ndarray]:
    """Return the arrays of a picture that a porter would look at, by the names of the checkpoint."""
    params = {name.removeprefix("convnext."): Tensor(value.astype(np.float32)) for name, value in weights.items()}
    found: dict[str, np.ndarray] = {"pixel_values": pixel_values}

    def keep(name: str, x: Tensor) -> Tensor:
        found[name] = x.numpy()
        return Tensor(found[name])

    def conv(name: str, x: Tensor, stride: int) -> Tensor:
        return keep(name, x.conv2d(params[f"{name}.weight"], params[f"{name}.bias"], stride=stride))

    def norm(name: str, x: Tensor, eps: float = 1e-6) -> Tensor:  # over the last axis
        return keep(name, x.layernorm(eps=eps) * params[f"{name}.weight"] + params[f"{name}.bias"])

    def norm_map(name: str, x: Tensor) -> Tensor:
        return norm(name, x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    def linear(name: str, x: Tensor) -> Tensor:
        return keep(name, x.linear(params[f"{name}.weight"].transpose(), params[f"{name}.bias"]))

    def block(name: str, x: Tensor) -> Tensor:
        weight, bias = params[f"{name}.dwconv.weight"], params[f"{name}.dwconv.bias"]
        y = keep(f"{name}.dwconv", x.conv2d(weight, bias, groups=x.shape[1], padding=3))
        y = norm(f"{name}.layernorm", y.permute(0, 2, 3, 1))
        y = keep(f"{name}.act", gelu(linear(f"{name}.pwconv1", y)))
        y = params[f"{name}.layer_scale_parameter"] * linear(f"{name}.pwconv2", y)
        return keep(name, x + y.permute(0, 3, 1, 2))

    x = norm_map("embeddings.layernorm", conv("embeddings.patch_embeddings", Tensor(pixel_values), 4))
    for stage, depth in enumerate(depths):
        if stage:
            name = f"encoder.stages.{stage}.downsampling_layer"
            x = conv(f"{name}.1", norm_map(f"{name}.0", x), 2)
        for layer in range(depth):
            x = block(f"encoder.stages.{stage}.layers.{layer}", x)
    linear("classifier", norm("layernorm", x.mean((2, 3)), last_eps))
    return found
