"""Random variations of training pictures: another cut-out, mirrored, other colours, parts covered or exchanged.

A whole batch is varied at once, on the device that it is on, as ``npconv.training.augment`` does it on the CPU.
Everything is drawn from PyTorch's generator of that device, so a run of some seed can be repeated.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from npconv.training.augment import COLOUR_FACTORS, LUMA, MARGIN, MOVED_ONLY, RATIOS, SCALES

#: Edges of the part that is covered, as shares of the picture's edge.
COVERED = (0.2, 0.5)


def augment(pixels: Tensor, size: int) -> Tensor:
    """Return a random variation of each picture: (N, 3, H, H) uint8 to (N, 3, size, size) float32 between 0 and 1."""
    return vary_colours(random_cuts(pixels / 255, size))


def random_cuts(pictures: Tensor, size: int) -> Tensor:
    """Cut a random part out of each picture, mirror half of them: (N, 3, H, H) to (N, 3, size, size) in 0 to 1."""
    count, edge, device = len(pictures), pictures.shape[-1], pictures.device
    moved_only = torch.rand(count, device=device) < MOVED_ONLY
    mirrored = torch.rand(count, device=device) < 0.5
    # In units of half an edge, as grid_sample counts: the picture reaches from -1 to 1, the margin beyond.
    outer = 1 + 2 * MARGIN
    scale = _uniform(count, math.log(SCALES[0]), math.log(SCALES[1]), device).exp()
    stretch = (_uniform(count, math.log(RATIOS[0]), math.log(RATIOS[1]), device) / 2).exp()
    extents = torch.stack([scale * stretch, scale / stretch], 1).clamp(max=outer)
    centres = _uniform((count, 2), -1, 1, device) * (outer - extents)
    pixels = round(MARGIN * edge)
    steps = torch.randint(-pixels, pixels + 1, (count, 2), device=device) * (2 / edge)
    extents = torch.where(moved_only[:, None], 1, extents)
    centres = torch.where(moved_only[:, None], steps, centres)
    theta = torch.diag_embed(extents)
    theta[:, 0, 0] *= torch.where(mirrored, -1, 1)
    grid = functional.affine_grid(
        torch.cat([theta, centres[..., None]], 2), [count, 3, size, size], align_corners=False
    )
    cut = functional.grid_sample(pictures, grid, mode="bicubic", padding_mode="reflection", align_corners=False)
    return cut.clamp(0, 1)


def vary_colours(pictures: Tensor) -> Tensor:
    """Change brightness, contrast and saturation of each picture, (N, 3, H, W) float32 between 0 and 1."""
    brightness, contrast, saturation = _uniform((3, len(pictures), 1, 1, 1), *COLOUR_FACTORS, pictures.device)
    pictures = (pictures * brightness).clamp(0, 1)
    red, green, blue = pictures.split(1, 1)
    grey = LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue
    mean = grey.mean((2, 3), keepdim=True)
    pictures = grey + saturation * (pictures - grey)
    return (mean + contrast * (pictures - mean)).clamp(0, 1)


def normalise(pictures: Tensor, mean: list[float], std: list[float]) -> Tensor:
    """Bring pictures between 0 and 1, (N, 3, H, W), into the form that a network takes."""
    return torch.stack([(pictures[:, i] - mean[i]) / std[i] for i in range(3)], 1)


def cover(x: Tensor, share: float) -> Tensor:
    """Set a random rectangle of a share of the normalised pictures (N, 3, H, W) to 0, the mean colour."""
    heights, widths = _uniform((2, len(x)), *COVERED, x.device)
    chosen = torch.rand(len(x), device=x.device) < share
    return x * ~(rectangles(heights, widths, x.shape[-1]) & chosen[:, None, None, None])


def exchange(x: Tensor, targets: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Put a rectangle of its neighbour in the batch into a share of the pictures, and as much of its class (N, K)."""
    area = torch.rand(len(x), device=x.device)
    chosen = torch.rand(len(x), device=x.device) < share
    mask = rectangles(area.sqrt(), area.sqrt(), x.shape[-1]) & chosen[:, None, None, None]
    strange = mask.float().mean((2, 3))
    return torch.where(mask, x.roll(1, 0), x), targets + strange * (targets.roll(1, 0) - targets)


def rectangles(heights: Tensor, widths: Tensor, size: int) -> Tensor:
    """Return a mask (N, 1, size, size) of rectangles in random places; edges (N,) are shares of the picture's edge."""
    positions = (torch.arange(size, device=heights.device) + 0.5) / size
    rows, columns = (
        (positions - torch.rand(len(edges), device=edges.device)[:, None]).abs() < edges[:, None] / 2
        for edges in (heights, widths)
    )
    return (rows[:, :, None] & columns[:, None, :])[:, None]


def _uniform(shape: int | tuple[int, ...], low: float, high: float, device: torch.device) -> Tensor:
    """Return random numbers between `low` and `high`."""
    return low + (high - low) * torch.rand(shape, device=device)
