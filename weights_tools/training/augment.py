"""Random variations of training pictures: another cut-out, mirrored, other colours.

Everything is drawn from the generator that is passed in, so a run can be repeated.
"""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

#: Share of the edge added on each side by reflection before a part is cut out.
PADDING = 1 / 8
#: Edge of the part that is cut out, as a multiple of the picture's own edge.
SCALES = (0.65, 1.2)
#: Width to height of that part.
RATIOS = (0.8, 1.25)
#: Brightness, contrast and saturation are multiplied by a factor in this range.
COLOUR_FACTORS = (0.7, 1.3)
#: The three colours are weighted like this for the brightness of a pixel (ITU-R BT.601).
LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


def augment(pixels: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Return a random variation of each picture: (N, H, H, 3) uint8 to (N, size, size, 3) float32 between 0 and 1."""
    cut = random_cuts(pixels, size, rng)
    mirrored = rng.random(len(cut)) < 0.5
    cut[mirrored] = cut[mirrored, :, ::-1]
    return vary_colours(cut.astype(np.float32) / 255, rng)


def random_cuts(pixels: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Cut a random part out of each picture, scaled to `size`: (N, H, W, 3) to (N, size, size, 3) uint8."""
    edge = pixels.shape[1]
    margin = round(PADDING * edge)
    padded = np.pad(pixels, ((0, 0), (margin, margin), (margin, margin), (0, 0)), mode="reflect")
    outer = edge + 2 * margin
    scales = edge * np.exp(rng.uniform(math.log(SCALES[0]), math.log(SCALES[1]), len(pixels)))
    stretch = np.exp(rng.uniform(math.log(RATIOS[0]), math.log(RATIOS[1]), len(pixels)) / 2)
    widths, heights = np.minimum(scales * stretch, outer), np.minimum(scales / stretch, outer)
    lefts, tops = rng.random((2, len(pixels))) * (outer - np.stack([widths, heights]))
    boxes = np.stack([lefts, tops, lefts + widths, tops + heights], axis=1)
    boxes = np.clip(boxes, 0, outer).tolist()  # the sum may round to just outside, which Pillow refuses
    cut = np.empty((len(pixels), size, size, 3), dtype=np.uint8)
    for index, box in enumerate(boxes):
        picture = Image.fromarray(padded[index])
        cut[index] = np.asarray(picture.resize((size, size), Image.Resampling.BICUBIC, box=tuple(box)))
    return cut


def vary_colours(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Change brightness, contrast and saturation of each picture, (N, H, W, 3) float32 between 0 and 1."""
    brightness, contrast, saturation = rng.uniform(*COLOUR_FACTORS, (3, len(pixels), 1, 1, 1)).astype(np.float32)
    pixels = np.clip(pixels * brightness, 0, 1)
    grey = (pixels @ LUMA)[..., None]
    mean = grey.mean(axis=(1, 2), keepdims=True)
    pixels = grey + saturation * (pixels - grey)
    return np.clip(mean + contrast * (pixels - mean), 0, 1)


def normalise(pixels: np.ndarray, mean: list[float], std: list[float]) -> np.ndarray:
    """Bring pictures between 0 and 1 into the form a network takes: (N, H, W, 3) to (N, 3, H, W) float32."""
    scaled = (pixels - np.array(mean, dtype=np.float32)) / np.array(std, dtype=np.float32)
    return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2), dtype=np.float32)


def colour_statistics(pixels: np.ndarray) -> tuple[list[float], list[float]]:
    """Return mean and standard deviation of each colour over uint8 pictures, on the scale 0 to 1, to 4 decimals."""
    count = np.stack([np.bincount(pixels[..., colour].ravel(), minlength=256) for colour in range(3)])
    values = np.arange(256) / 255
    share = count / count.sum(axis=1, keepdims=True)
    mean = share @ values
    std = np.sqrt((share * (values - mean[:, None]) ** 2).sum(axis=1))
    return np.round(mean, 4).tolist(), np.round(std, 4).tolist()
