"""What a golden case is, what draws its arrays, and where the cases of the families are found."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import wraps
from typing import Any, Concatenate, ParamSpec

import numpy as np

from npconv.models import FAMILIES, find_family
from weights_tools.goldens import draw

P = ParamSpec("P")

#: Inputs and parameters, and what draws them.
Drawn = tuple[Sequence[np.ndarray], dict[str, np.ndarray]]
Draw = Callable[[np.random.Generator], Drawn]

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

    Its `name` is that of the file, without family and ending; `shape` is that of the pictures (N, C, H, W), `fields`
    are those of the configuration without a default, `losses` the :data:`LOSSES` to compute. For scales and offset see
    ``weights_tools.goldens.draw``. :func:`model_cases` fills in the family.
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
    """A golden case of an operation, layer, block or classifier: a ``npconv.golden.case.Case`` to be."""

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


def later(function: Callable[Concatenate[np.random.Generator, P], Drawn]) -> Callable[P, Draw]:
    """Let a function that draws be called without its generator: it returns what draws when it is given one."""

    @wraps(function)
    def prepare(*args: P.args, **kwargs: P.kwargs) -> Draw:
        return lambda rng: function(rng, *args, **kwargs)

    return prepare


def uniform(rng: np.random.Generator, *shape: int, std: float = 1.0, mean: float = 0.0) -> np.ndarray:
    """Return random numbers in float16."""
    return np.asarray(draw.pixel_values(rng, shape, scale=std, offset=mean))


@later
def arrays(
    rng: np.random.Generator, /, *inputs: Sequence[int], std: float = 1.0, mean: float = 0.0, **params: Sequence[int]
) -> Drawn:
    """Draw inputs and parameters of some shapes; weights keep the size of what passes through them."""
    drawn = [uniform(rng, *shape, std=std, mean=mean) for shape in inputs]
    weights = draw.weights(rng, params.items())
    return drawn, {name: weights[name] for name in params}


@later
def picture(rng: np.random.Generator, height: int, width: int) -> Drawn:
    """Draw a uint8 picture: waves of colour with noise on them."""
    rows, columns = np.arange(height)[:, None] / height, np.arange(width) / width
    waves = [4 * np.abs((rng.random() + 2 * rows + (c + 1) * columns) % 1 - 0.5) - 1 for c in range(3)]
    noise = rng.random((3, height, width)) - 0.5
    return [np.clip(np.stack(waves) * 90 + noise * 120 + 128, 0, 255).astype(np.uint8)], {}


def block(config: Any, *inputs: Sequence[int], std: float = 1.0) -> Draw:
    """Return what draws the inputs of a block, and the parameters of the first one of a model."""
    shapes = find_family(config.model_type).part("model").model_shapes(config)
    first = [name for name in shapes if ".stages.0.layers.0." in f".{name}"]
    root = first[0][: first[0].index("layers.0.") + len("layers.0.")]
    return _part(inputs, {name.removeprefix(root): shapes[name] for name in first}, std, std)


def classifier(config: Any, *shape: int, std: float = 1.0) -> Draw:
    """Return what draws pixel values and the weights of a classifier."""
    shapes = find_family(config.model_type).part("model").image_classification_shapes(config)
    return _part([shape], shapes, 1.0, std)


@later
def _part(
    rng: np.random.Generator, inputs: Sequence[Sequence[int]], shapes: Mapping[str, Any], std: float, scale: float
) -> Drawn:
    """Draw inputs and the parameters of a part of a model; counters of batches are left out."""
    drawn = [uniform(rng, *shape, std=std) for shape in inputs]
    named = [(name, shape) for name, shape in shapes.items() if not name.endswith("num_batches_tracked")]
    return drawn, draw.weights(rng, named, scale=scale)
