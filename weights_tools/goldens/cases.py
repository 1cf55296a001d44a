"""What a golden case is, what draws its arrays, and where the cases of the families are found."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from npconv.models import FAMILIES, find_family
from weights_tools.goldens import draw

#: Draws arrays: a generator in, inputs and parameters out.
Draw = Callable[[np.random.Generator], tuple[Sequence[np.ndarray], dict[str, np.ndarray]]]

#: Standard deviation at which maps have a variance near 1e-6, the smaller of the epsilons.
TINY = 2.0**-10

#: Settings of the pictures and weights that show the epsilons, the mean and the absence of variation.
EXTREMES: dict[str, dict[str, Any]] = {
    "tiny_variance": {"input_scale": TINY, "weight_scale": TINY},
    "large_mean": {"input_offset": 30.0},
    "constant_picture": {"input_scale": 0.0, "input_offset": 0.75},
}

#: Losses: name -> (num_labels, problem_type, labels of two pictures); problem_type None: inferred from the labels.
LOSSES: dict[str, tuple[int, str | None, list[Any]]] = {
    "one_column": (1, None, [0.75, -1.5]),
    "regression": (3, "regression", [[0.5, -1.25, 2.0], [1.5, 0.25, -0.75]]),
    "single_label": (4, None, [3, 1]),
    "single_label_ignored": (4, "single_label_classification", [-100, 2]),
    "multi_label": (4, None, [[1.0, 0.0, 0.25, 1.0], [0.0, 0.0, 1.0, 1.0]]),
    "multi_label_named": (1, "multi_label_classification", [[1.0], [0.0]]),
}


@dataclass(frozen=True)
class ModelCase:
    """A small model whose outputs are golden: one file of ``tests/goldens``.

    Attributes
    ----------
    name : str
        Of the file, without family and ending.
    task : str
        Which model: see ``weights_tools.goldens.reference.build``.
    shape : tuple of int
        Of the pictures, (N, C, H, W).
    fields : dict
        Of the configuration; all others have their defaults.
    losses : dict of str to (num_labels, problem_type, labels)
        Losses to compute, by name.
    input_scale, input_offset, weight_scale : float
        See ``weights_tools.goldens.draw``.
    family : str
        The ``model_type``, which :func:`model_cases` fills in.
    """

    name: str
    task: str
    shape: tuple[int, ...]
    fields: dict[str, Any]
    losses: dict[str, tuple[int, str | None, list[Any]]] = field(default_factory=dict)
    input_scale: float = 1.0
    input_offset: float = 0.0
    weight_scale: float = 1.0
    family: str = ""


@dataclass(frozen=True)
class OperationCase:
    """A golden case of an operation, layer, block or classifier: one of those in ``npconv/golden/cases``.

    Attributes
    ----------
    operation, name, why : str
        See ``npconv.golden.case.Case``.
    draw : callable
        Takes a generator of random numbers, returns inputs and parameters.
    attributes : dict
    """

    operation: str
    name: str
    why: str
    draw: Draw
    attributes: dict[str, Any] = field(default_factory=dict)


def family_file(family: str) -> Any:
    """Return the module that holds the golden cases of a family; see ``tests/golden_cases``."""
    return importlib.import_module(f"tests.golden_cases.{family}")


def model_cases() -> list[ModelCase]:
    """Return the golden models of all families, by the names of their files."""
    cases = [
        replace(case, family=family, name=f"{family}-{case.name}")
        for family in FAMILIES
        for case in family_file(family).models()
    ]
    return sorted(cases, key=lambda case: case.name)


def loss_cases(shape: tuple[int, ...], fields: dict[str, Any]) -> Iterator[ModelCase]:
    """Yield one case for each number of labels, with all losses of that number."""
    for columns in sorted({columns for columns, _, _ in LOSSES.values()}):
        losses = {name: loss for name, loss in LOSSES.items() if loss[0] == columns}
        own_fields = {**fields, "num_labels": columns}
        yield ModelCase(f"loss_{columns}_labels", "image_classification", shape, own_fields, losses)


def uniform(rng: np.random.Generator, *shape: int, std: float = 1.0, mean: float = 0.0) -> np.ndarray:
    """Return random numbers in float16."""
    return draw.pixel_values(rng, shape, scale=std, offset=mean)


def arrays(*inputs: Sequence[int], std: float = 1.0, mean: float = 0.0, **params: Sequence[int]) -> Draw:
    """Return what draws inputs and parameters of some shapes; weights keep the size of what passes through them."""

    def make(rng: np.random.Generator) -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
        drawn = [uniform(rng, *shape, std=std, mean=mean) for shape in inputs]
        named = {f"x.{name}": tuple(shape) for name, shape in params.items()}
        weights = draw.weights(rng, named.items())
        return drawn, {name: weights[f"x.{name}"] for name in params}

    return make


def norm(*shape: int, channels: int, std: float = 1.0, mean: float = 0.0) -> Draw:
    """Return what draws the arguments of a LayerNorm."""
    return arrays(shape, std=std, mean=mean, weight=(channels,), bias=(channels,))


def picture(height: int, width: int) -> Draw:
    """Return what draws a uint8 picture: waves of colour with noise on them."""

    def make(rng: np.random.Generator) -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
        rows, columns = np.arange(height)[:, None] / height, np.arange(width) / width
        waves = [4 * np.abs((rng.random() + 2 * rows + (c + 1) * columns) % 1 - 0.5) - 1 for c in range(3)]
        noise = rng.random((3, height, width)) - 0.5
        return [np.clip(np.stack(waves) * 90 + noise * 120 + 128, 0, 255).astype(np.uint8)], {}

    return make


def block(config: Any, *inputs: Sequence[int], std: float = 1.0) -> Draw:
    """Return what draws the inputs of a block, and the parameters of the first one of a model."""
    shapes = find_family(config.model_type).part("model").model_shapes(config)
    first = [name for name in shapes if ".stages.0.layers.0." in f".{name}"]
    root = first[0][: first[0].index("layers.0.") + len("layers.0.")]
    return _random([*inputs], {name.removeprefix(root): shapes[name] for name in first}, std, std)


def classifier(config: Any, *shape: int, std: float = 1.0) -> Draw:
    """Return what draws pixel values and the weights of a classifier."""
    shapes = find_family(config.model_type).part("model").image_classification_shapes(config)
    return _random([shape], shapes, 1.0, std)


def _random(inputs: Sequence[Sequence[int]], shapes: dict[str, Any], std: float, scale: float) -> Draw:
    """Return what draws inputs and the parameters of a part of a model; counters of batches are left out."""

    def make(rng: np.random.Generator) -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
        drawn = [uniform(rng, *shape, std=std) for shape in inputs]
        named = [(f"x.{name}", shape) for name, shape in shapes.items() if not name.endswith("num_batches_tracked")]
        weights = draw.weights(rng, named, scale=scale)
        return drawn, {name.removeprefix("x."): array for name, array in weights.items()}

    return make
