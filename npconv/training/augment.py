"""Random variations of training photos: another part of them, mirrored, in other colours, mixed with each other.

A batch is varied at once. What is random comes from one generator.
"""

from __future__ import annotations

import math

import numpy as np

#: Share of the photos that are only moved by whole pixels: the finished model sees photos that are not cut so.
MOVED_ONLY = 0.5
#: They are moved by at most this share of their edge, and no other part that is cut out reaches further outside.
MARGIN = 1 / 8
#: Edge of the part that is cut out, as a multiple of the photo's own edge.
SCALES = (0.65, 1.2)
#: Width to height of that part.
RATIOS = (0.8, 1.25)
#: Brightness, contrast and saturation are multiplied by a factor in this range.
COLOUR_FACTORS = (0.7, 1.3)
#: The three colours are weighted like this for the brightness of a pixel (ITU-R BT.601).
LUMA = (0.299, 0.587, 0.114)
#: The parameter of the cubic by which pixels are interpolated: that of Pillow.
CUBIC = -0.5
#: The largest value of a pixel.
WHITE = 255.0


def augment(pictures: np.ndarray, rng: np.random.Generator, *, flip: bool) -> np.ndarray:
    """Return a random variation of each picture: (N, C, H, W) uint8 to float32 from 0 to 255."""
    varied = random_cuts(pictures.astype(np.float32), rng, flip=flip)
    return vary_colours(varied, rng) if pictures.shape[1] == len(LUMA) else varied


def random_cuts(pictures: np.ndarray, rng: np.random.Generator, *, flip: bool) -> np.ndarray:
    """Cut a random part out of each picture (N, C, H, W) and bring it to the size of the picture.

    Outside of a picture is its mirror image. With `flip`, half of the parts are mirrored.
    """
    count, (height, width) = len(pictures), pictures.shape[2:]
    is_moved, is_mirrored = rng.random(count) < MOVED_ONLY, rng.random(count) < (0.5 if flip else 0.0)
    scale = np.exp(rng.uniform(math.log(SCALES[0]), math.log(SCALES[1]), count))
    stretch = np.exp(rng.uniform(math.log(RATIOS[0]), math.log(RATIOS[1]), count) / 2)
    rows = _one_axis(height, scale / stretch, is_moved, rng)
    columns = _one_axis(width, scale * stretch, is_moved, rng)
    columns = np.where(is_mirrored[:, None], columns[:, ::-1], columns)
    down, across = interpolation(rows, height), interpolation(columns, width)
    cuts = down[:, None] @ pictures @ across[:, None].swapaxes(2, 3)
    return np.clip(cuts, 0, WHITE)


def _one_axis(length: int, extents: np.ndarray, is_moved: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the places along an axis that a part is made of, (N, length): pixel 0 is at 0.

    `extents` (N,) are the lengths of the parts, as multiples of the whole.
    """
    outer = 1 + 2 * MARGIN
    extents = np.minimum(extents, outer)
    centres = rng.uniform(-0.5, 0.5, len(extents)) * (outer - extents)
    most = round(MARGIN * length)
    steps = rng.integers(-most, most, len(extents), endpoint=True)
    middles = np.arange(length) - (length - 1) / 2
    cut = (centres * length)[:, None] + middles * extents[:, None]
    moved = steps[:, None] + middles
    return np.where(is_moved[:, None], moved, cut) + (length - 1) / 2


def interpolation(places: np.ndarray, length: int) -> np.ndarray:
    """Return the matrices (N, M, length) that make values at places (N, M) of those at pixels, by cubics.

    Beyond its ends the row of pixels is mirrored. Keys, Cubic convolution interpolation for digital image processing,
    https://doi.org/10.1109/TASSP.1981.1163711.
    """
    first = np.floor(places).astype(np.int64) - 1
    matrices = np.zeros((*places.shape, length), np.float32)
    samples, rows = np.ogrid[: places.shape[0], : places.shape[1]]
    for pixel in (first + k for k in range(4)):
        d = np.abs(places - pixel)
        near = ((CUBIC + 2) * d - (CUBIC + 3)) * d * d + 1
        far = ((CUBIC * d - 5 * CUBIC) * d + 8 * CUBIC) * d - 4 * CUBIC
        around = np.mod(pixel, 2 * length)
        inside = np.where(around < length, around, 2 * length - 1 - around)
        matrices[samples, rows, inside] += np.where(d <= 1, near, np.where(d < 2, far, 0)).astype(np.float32)
    return matrices


def vary_colours(pictures: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Change brightness, contrast and saturation of each picture, (N, 3, H, W) float32 from 0 to 255."""
    drawn = rng.uniform(*COLOUR_FACTORS, (3, len(pictures), 1, 1, 1)).astype(np.float32)
    brightness, contrast, saturation = drawn
    pictures = np.clip(pictures * brightness, 0, WHITE)
    grey = np.tensordot(np.array(LUMA, np.float32), pictures, (0, 1))[:, None]
    mean = grey.mean((2, 3), keepdims=True)
    pictures = grey + saturation * (pictures - grey)
    return np.clip(mean + contrast * (pictures - mean), 0, WHITE)


def smooth_targets(labels: np.ndarray, classes: int, smoothing: float) -> np.ndarray:
    """Return the probabilities (N, classes) float32 of labels (N,), of which a share is spread over all classes.

    Rethinking the Inception Architecture for Computer Vision, https://arxiv.org/abs/1512.00567.
    """
    sure = np.eye(classes, dtype=np.float32)[labels]
    return (1 - smoothing) * sure + np.float32(smoothing / classes)


def mixup(x: np.ndarray, targets: np.ndarray, alpha: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Mix each sample of a batch, and its target, with another one, in a share drawn from Beta(`alpha`, `alpha`).

    mixup: Beyond Empirical Risk Minimization, https://arxiv.org/abs/1710.09412, but with a share for each sample.
    """
    share = rng.beta(alpha, alpha, len(x)).astype(np.float32)
    other = rng.permutation(len(x))

    def mixed(array: np.ndarray) -> np.ndarray:
        own = share.reshape(-1, *[1] * (array.ndim - 1))
        return own * array + (1 - own) * array[other]

    return mixed(x), mixed(targets)
