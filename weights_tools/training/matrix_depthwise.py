"""Depthwise convolutions as matrix products, which GPUs compute many times as fast on small maps.

For maps of one size, the depthwise convolution of a channel is a matrix from input positions to output positions: each
entry is one of the kernel's weights, or 0. All channels together are a batch of matrix products. The matrices are in
turn the weights times a fixed matrix of zeros and ones, so the derivatives are matrix products as well.
"""

from __future__ import annotations

from types import MethodType

import torch
from torch import Tensor, nn


def use_matrix_depthwise(model: nn.Module, pictures: Tensor, dtype: torch.dtype) -> None:
    """Replace ``forward`` of the depthwise convolutions inside `model`; values stay the same, up to rounding.

    `pictures` (N, 3, H, W) are like those that the network will take: it then takes no other height and width. `dtype`
    is that of the products.
    """
    convolutions = [
        module
        for module in model.modules()
        if isinstance(module, nn.Conv2d) and 1 < module.groups == module.in_channels
    ]
    for module in convolutions:
        module.forward = MethodType(_measure, module)
    with torch.no_grad(), torch.compiler.set_stance("force_eager"):
        model(pictures)
    for module in convolutions:
        module.taps = taps(module, *module.map_size).to(pictures.device, dtype)
        module.forward = MethodType(_forward, module)


def taps(convolution: nn.Conv2d, height: int, width: int) -> Tensor:
    """Return which weight joins which positions: zeros and ones (inputs, weights, outputs)."""
    kernel = convolution.kernel_size
    count = kernel[0] * kernel[1]
    # Row p of the identity is a map with a 1 at position p alone: the kernel with one weight moves it to the outputs.
    maps = torch.eye(height * width).reshape(-1, 1, height, width)
    shifts = torch.eye(count).reshape(count, 1, *kernel)
    joined = nn.functional.conv2d(maps, shifts, stride=convolution.stride, padding=convolution.padding)
    return joined.flatten(2)


def _measure(convolution: nn.Conv2d, x: Tensor) -> Tensor:
    """Note the size of the map that a convolution takes and gives."""
    y = nn.Conv2d.forward(convolution, x)
    convolution.map_size, convolution.result_size = x.shape[2:], y.shape[2:]
    return y


def _forward(convolution: nn.Conv2d, x: Tensor) -> Tensor:
    """Compute the depthwise convolution of x, (N, C, H, W)."""
    weights = convolution.weight.flatten(1).expand(len(convolution.taps), -1, -1)
    matrices = torch.bmm(weights, convolution.taps).transpose(0, 1)  # (C, inputs, outputs)
    y = torch.bmm(x.flatten(2).transpose(0, 1), matrices).transpose(0, 1)
    if convolution.bias is not None:
        y = y + convolution.bias[:, None]
    return y.unflatten(2, tuple(convolution.result_size))
