"""How far npconv is from transformers, over random configurations and sizes of pictures.

    python -m tests.reference.parity

prints the figures; ``test_parity.py`` checks them. Weights and pictures are float16 numbers, so that all dtypes compute
the same function: the distance of a float32 output to the float64 truth is rounding in the computation alone.

Distances are ``max |difference| / max |truth|`` of one array (the logits, or one hidden state). In float32 the distance
of one array is a maximum over few tiny rounding errors: a noisy number, and its ratio between two programs is noisier.
What is compared is therefore taken over all arrays of all cases of a family: the geometric mean, in which each array
counts the same however small its error, and the maximum, which is what a user may meet at worst.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch

from npconv.layers import ACTIVATIONS
from npconv.models import FAMILIES, find_family
from tests.support.families import CLASSES, CONFIGS
from weights_tools.goldens import draw, reference

torch.set_num_threads(1)  # so that a run on a busy machine is quick, and rounds alike

#: Those that have classifiers.
CLASSIFIERS = [family for family in FAMILIES if find_family(family).main_task == "image_classification"]

#: Those that have backbones.
BACKBONES = [family for family in FAMILIES if "backbone" in find_family(family).tasks]

#: Random configurations of each family.
CASES = 40

_STAGED = {"num_stages": 2, "hidden_sizes": [5, 8], "depths": [1, 2], "patch_size": 2}

#: The fields of a tiny model of each family that transformers builds as it is.
TINY: dict[str, dict[str, Any]] = {
    "convnext": _STAGED,
    "convnextv2": _STAGED,
    "cvt": {
        "embed_dim": [6, 8],
        "num_heads": [2, 4],
        "depth": [1, 2],
        "patch_stride": [2, 2],
        "cls_token": [False, True],
    },
    "dinov3_convnext": {"hidden_sizes": [5, 8], "depths": [1, 2]},
}


@dataclass(frozen=True)
class Pair:
    """The same model twice, and pictures for it."""

    theirs: Any
    ours: Any
    weights: dict[str, np.ndarray]
    pixel_values: np.ndarray


@dataclass(frozen=True)
class Distances:
    """Distances of the logits and each hidden state of one case, by name."""

    float64: dict[str, float]
    ours_float32: dict[str, float]
    theirs_float32: dict[str, float]


def make_pair(family: str, task: str, fields: dict[str, Any], shape: tuple[int, ...], *, seed: int = 0) -> Pair:
    """Return the model of transformers and ours with the same random weights, both in float64."""
    theirs = reference.build(family, task, fields)
    rng = draw.generator(seed, f"{family}-{task}")
    pixel_values = draw.pixel_values(rng, shape)
    weights = draw.weights(rng, draw.tensor_shapes(theirs.state_dict()))
    reference.load(theirs, weights)
    ours = CLASSES[family, task](CONFIGS[family](**fields), weights, dtype="float64")
    return Pair(theirs, ours, weights, pixel_values)


def random_case(family: str, seed: int) -> tuple[dict[str, Any], tuple[int, ...]]:
    """Return the fields of a configuration and the shape of pictures that fit it."""
    choose = random.Random(f"{family} {seed}")
    fields = RANDOM_FIELDS[family](choose)
    fields["num_channels"] = choose.choice([1, 2, 3, 3, 5])
    fields["num_labels"] = choose.choice([0, 1, 2, 5, 9])
    least = _least_side(family, fields)
    height, width = (side + choose.randint(0, 30) for side in least)
    return fields, (1 + seed % 2, fields["num_channels"], height, width)


def outputs_of(model: Any, pixel_values: np.ndarray) -> dict[str, np.ndarray]:
    """Return all outputs of a model of npconv, as ``reference.run`` does of one of transformers."""
    arrays: dict[str, np.ndarray] = {}
    for name, value in model(pixel_values, output_hidden_states=True).items():
        parts = {f"{name}.{i}": part for i, part in enumerate(value)} if isinstance(value, tuple) else {name: value}
        arrays |= parts
    return arrays


def distance(actual: np.ndarray, truth: np.ndarray) -> float:
    """Return the largest difference by the largest number of the truth."""
    if actual.shape != truth.shape:
        raise ValueError(f"expected shape {truth.shape}, got {actual.shape}")
    return float(np.abs(actual.astype(np.float64) - truth).max() / np.abs(truth).max())


def distances(actual: dict[str, np.ndarray], truth: dict[str, np.ndarray]) -> dict[str, float]:
    """Return the distance of every output."""
    if set(actual) != set(truth):
        raise ValueError(f"expected the outputs {sorted(truth)}, got {sorted(actual)}")
    return {name: distance(actual[name], expected) for name, expected in truth.items()}


@cache
def measure(family: str, seed: int) -> Distances:
    """Run one random case in float64 and float32."""
    fields, shape = random_case(family, seed)
    pair = make_pair(family, find_family(family).main_task, fields, shape, seed=seed)
    truth = reference.run(pair.theirs, pair.pixel_values)
    ours_float32 = type(pair.ours)(pair.ours.config, pair.weights, dtype="float32")
    return Distances(
        float64=distances(outputs_of(pair.ours, pair.pixel_values), truth),
        ours_float32=distances(outputs_of(ours_float32, pair.pixel_values), truth),
        theirs_float32=distances(reference.run(pair.theirs.float(), pair.pixel_values), truth),
    )


@dataclass(frozen=True)
class Figures:
    """What is reported of a family."""

    arrays: int
    worst_float64: float
    geometric_means: tuple[float, float]  # ours, theirs
    maxima: tuple[float, float]
    worst_ratio: float

    @property
    def ratios(self) -> tuple[float, float]:
        """Ours by theirs: of the geometric means, of the maxima."""
        return self.geometric_means[0] / self.geometric_means[1], self.maxima[0] / self.maxima[1]


def figures(family: str) -> Figures:
    """Return the figures of a family over all its cases."""
    measured = [measure(family, seed) for seed in range(CASES)]
    float64 = [value for case in measured for value in case.float64.values()]
    ours = np.array([value for case in measured for value in case.ours_float32.values()])
    theirs = np.array([value for case in measured for value in case.theirs_float32.values()])
    # An array may be exact by chance. No error smaller than a quarter of a unit roundoff is told from that.
    floor = 2.0**-26
    means = tuple(float(np.exp(np.log(np.maximum(values, floor)).mean())) for values in (ours, theirs))
    worst_ratio = float((np.maximum(ours, floor) / np.maximum(theirs, floor)).max())
    return Figures(len(float64), max(float64), means, (float(ours.max()), float(theirs.max())), worst_ratio)


def main() -> None:
    """Print the figures."""
    print(f"{CASES} random configurations a family; torch {torch.__version__}, numpy {np.__version__}")
    for family in FAMILIES:
        result = figures(family)
        mean_ratio, max_ratio = result.ratios
        print(f"{family}: {result.arrays} arrays")
        print(f"  float64, npconv to transformers: at most {result.worst_float64:.1e}")
        for name, (ours, theirs), ratio in (
            ("geometric mean", result.geometric_means, mean_ratio),
            ("maximum", result.maxima, max_ratio),
        ):
            print(f"  float32 to the truth, {name}: npconv {ours:.2e}, PyTorch {theirs:.2e}, ratio {ratio:.2f}")
        print(f"  float32, worst ratio of a single array: {result.worst_ratio:.2f}")


def _random_convnext(choose: random.Random) -> dict[str, Any]:
    """Return a configuration of ConvNeXt."""
    return _random_convnextv2(choose) | {"layer_scale_init_value": choose.choice([1e-6, 0.5, 0.0, -1.0])}


def _random_convnextv2(choose: random.Random) -> dict[str, Any]:
    """Return a configuration of ConvNeXt V2."""
    stages = choose.choice([1, 2, 3, 4, 4, 5])
    patch = choose.choice([1, 2, 3, 4, 4, [2, 3], [4, 1]])
    fields = {
        "num_stages": stages,
        "hidden_sizes": [choose.randint(3, 24) for _ in range(stages)],
        "depths": [choose.choice([0, 1, 1, 2, 3]) for _ in range(stages)],
        "patch_size": patch,
        "hidden_act": choose.choice(list(ACTIVATIONS)),
        "layer_norm_eps": 10.0 ** choose.uniform(-12, -1),
        "drop_path_rate": choose.choice([0.0, 0.3]),
    }
    if stages == 1:
        fields["depths"] = [max(fields["depths"][0], 1)]
    return fields


def _random_dinov3_convnext(choose: random.Random) -> dict[str, Any]:
    """Return a configuration of DINOv3's ConvNeXt: that of ConvNeXt, less what is the same in all of its family."""
    fields = _random_convnext(choose)
    return {name: value for name, value in fields.items() if name not in {"num_stages", "patch_size"}}


def _random_cvt(choose: random.Random) -> dict[str, Any]:
    """Return a configuration of CvT."""
    stages = choose.choice([1, 2, 3, 3, 4])
    last = 2 * choose.randint(2, 12)
    widths = [choose.choice([last, 2 * choose.randint(2, 10)]) for _ in range(stages - 1)] + [last]
    kernels = [choose.choice([1, 3, 3, 5]) for _ in range(stages)]

    def each(options: list[Any]) -> list[Any]:
        return [choose.choice(options) for _ in range(stages)]

    return {
        "embed_dim": widths,
        "num_heads": [choose.choice([heads for heads in (1, 2, 3, 4) if width % heads == 0]) for width in widths],
        "depth": each([1, 1, 2, 3]),
        "mlp_ratio": each([4.0, 2.0, 1.7, 0.5]),
        "attention_drop_rate": each([0.0, 0.2]),
        "drop_rate": each([0.0, 0.2]),
        "drop_path_rate": each([0.0, 0.2]),
        "qkv_bias": each([True, False]),
        "cls_token": [width == last and choose.random() < 0.6 for width in widths],
        "qkv_projection_method": each(["dw_bn", "dw_bn", "dw_bn", "avg", "linear"]),
        "patch_sizes": each([2, 3, 5]),
        "patch_stride": [choose.choice([2, 3]), *each([1, 2, 2])[1:]],
        "patch_padding": each([0, 1, 1]),
        "kernel_qkv": kernels,
        "padding_q": [kernel // 2 for kernel in kernels],
        "padding_kv": [choose.randint(0, kernel // 2) for kernel in kernels],
        "stride_kv": each([1, 2, 2, 3]),
        "stride_q": [1] * stages,
        "hidden_act": choose.choice(["gelu", "gelu", "quick_gelu", "gelu_new", "relu"]),
    }


RANDOM_FIELDS = {
    "convnext": _random_convnext,
    "convnextv2": _random_convnextv2,
    "cvt": _random_cvt,
    "dinov3_convnext": _random_dinov3_convnext,
}


def _least_side(family: str, fields: dict[str, Any]) -> tuple[int, int]:
    """Return height and width of the smallest picture that the model takes."""
    if family != "cvt":
        height, width = CONFIGS[family](**fields).patch_shape
        scale = 2 ** (len(fields["hidden_sizes"]) - 1)
        return height * scale, width * scale
    side = 1
    names = ("patch_sizes", "patch_stride", "patch_padding", "kernel_qkv")
    for kernel, stride, padding, kernel_qkv in reversed(list(zip(*(fields[name] for name in names), strict=True))):
        side = (max(side, kernel_qkv) - 1) * stride + kernel - 2 * padding  # so that keys fit without padding as well
    return max(side, 3), max(side, 3)


if __name__ == "__main__":
    main()
