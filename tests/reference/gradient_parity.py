"""How far npconv's gradients are from those of PyTorch's autograd, over random configurations and sizes of pictures.

    python -m tests.reference.gradient_parity

prints the figures; ``test_gradients.py`` checks them. Weights and pictures are those of ``parity``, exact in every
dtype. What is differentiated is one of the losses, or the outputs with upstream gradients that are given.

A distance is ``max |difference| / max |truth|`` of one gradient. Where the true gradient is 0, as that of a CvT key's
bias, what is left of it is rounding: then the largest gradient of its block takes the place of its own. As in
``parity``, float32 is compared over all gradients of all cases: the geometric mean and the maximum.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from transformers.activations import FastGELUActivation

import npconv
from npconv.models import FAMILIES, find_family
from npconv.models.parameters import flatten
from npconv.models.plans import make_plan
from npconv.plan.shapes import result_shapes
from tests.reference import parity, same_masks
from weights_tools.goldens import reference

PIXELS = "pixel_values"

#: A gradient smaller than this part of the largest in its block is one that is 0 but for rounding and epsilons.
ZERO = 1e-5


@dataclass(frozen=True)
class Ending:
    """What is differentiated: a loss, or the sum of all outputs times their upstream gradients."""

    problem_type: str | None = None
    labels: np.ndarray | None = None
    upstream: tuple[np.ndarray, ...] = ()

    @property
    def kind(self) -> str:
        """The name of the loss."""
        return self.problem_type or "upstream gradients"


@dataclass(frozen=True)
class Case:
    """A model twice, what is differentiated, and the seed of the masks in training; None is inference."""

    pair: parity.Pair
    ending: Ending
    masks: int | None


@dataclass(frozen=True)
class Backward:
    """What a walk back gives: the loss, gradients by parameter and ``"pixel_values"``, and new stored statistics."""

    loss: float
    gradients: dict[str, np.ndarray]
    statistics: dict[str, np.ndarray]


def make_case(
    family: str,
    task: str,
    fields: dict[str, Any],
    shape: tuple[int, ...],
    *,
    ending: Ending | None = None,
    seed: int = 0,
    masks: int | None = None,
) -> Case:
    """Return a case, with upstream gradients if no other ending is given."""
    pair = parity.make_pair(family, task, fields, shape, seed=seed)
    for module in list(pair.theirs.modules()):
        if isinstance(module, torch.nn.BatchNorm2d):
            module.register_forward_hook(_lay_gradient_out)
        for name, child in module.named_children():
            if isinstance(child, FastGELUActivation):  # has a constant of ten digits
                setattr(module, name, torch.nn.GELU(approximate="tanh"))
    return Case(pair, ending or upstream(pair, np.random.default_rng(seed)), masks)


def _lay_gradient_out(module: Any, inputs: Any, output: torch.Tensor) -> None:
    """Copy the gradient that a batch norm gets.

    That which PyTorch 2.13 computes of it on a CPU is wrong where there is one picture whose gradient lies channels
    last, as CvT's tokens let it, and whose map does not.
    """
    output.register_hook(lambda gradient: gradient.contiguous())


def upstream(pair: parity.Pair, rng: np.random.Generator) -> Ending:
    """Return random upstream gradients of all outputs."""
    plan = make_plan(pair.ours.config, pair.ours.task)
    parameters = {name: array.shape for name, array in pair.weights.items()}
    shapes = result_shapes(plan, pair.pixel_values.shape, parameters)
    return Ending(upstream=tuple(rng.normal(size=shapes[name]) for name in plan.outputs))


def losses(batch: int, classes: int, rng: np.random.Generator) -> list[Ending]:
    """Return the losses that a classifier of so many classes can have, with random labels."""
    endings = []
    if classes > 0:
        endings.append(Ending("regression", rng.normal(size=(batch, classes))))
        endings.append(Ending("multi_label_classification", rng.random((batch, classes))))
    if classes > 1:
        labels = rng.integers(classes, size=batch)
        labels[1:2] = -100
        endings.append(Ending("single_label_classification", labels))
    return endings


@cache
def random_case(family: str, seed: int) -> Case:
    """Return a random case of a family's main task, every second pair of seeds in training."""
    fields, (batch, *picture) = parity.random_case(family, seed)
    is_training = seed // 2 % 2 == 1
    batch += is_training  # a batch norm needs more than one number
    task = find_family(family).main_task
    case = make_case(family, task, fields, (batch, *picture), seed=seed, masks=seed if is_training else None)
    rng = np.random.default_rng(seed)
    found = losses(batch, fields["num_labels"] if task == "image_classification" else 0, rng)
    return Case(case.pair, [case.ending, *found][rng.integers(1 + len(found))], case.masks)


def ours_backward(case: Case, dtype: str = "float64") -> Backward:
    """Return what npconv gives."""
    pair, ending = case.pair, case.ending
    model = type(pair.ours)(pair.ours.config, pair.weights, dtype=dtype)
    model.config.problem_type = ending.problem_type
    given = {"labels": ending.labels} if ending.problem_type else {"grad_outputs": ending.upstream}
    run = npconv.value_and_grad(model)
    options = {"training": case.masks is not None, "rng": case.masks}
    loss, gradients = result = run(pair.pixel_values, **given, **options)
    trained = {name for name, _ in model.named_parameters()}
    named = {name: array for name, array in flatten(gradients).items() if name in trained}
    named[PIXELS] = run(pair.pixel_values, **given, **options, wrt=PIXELS).gradients
    model.config.problem_type = None
    return Backward(float(loss), named, dict(result.statistics))


def theirs_backward(case: Case, dtype: torch.dtype = torch.float64) -> Backward:
    """Return what transformers and autograd give."""
    pair, ending = case.pair, case.ending
    model = pair.theirs.to(dtype).eval()
    reference.load(model, pair.weights)
    model.zero_grad()
    if case.masks is not None:
        same_masks.train(model, pair.ours, np.random.default_rng(case.masks))
    x = torch.tensor(pair.pixel_values).to(dtype).requires_grad_()
    loss = _loss(model, x, ending)
    loss.backward()
    trained = {name.removeprefix("model."): parameter for name, parameter in model.named_parameters()} | {PIXELS: x}
    statistics = {} if case.masks is None else {name: array.numpy().copy() for name, array in model.named_buffers()}
    whole = {name: np.zeros(p.shape) if p.grad is None else p.grad.numpy().copy() for name, p in trained.items()}
    return Backward(float(loss.detach()), whole, statistics)


def _loss(model: Any, x: torch.Tensor, ending: Ending) -> torch.Tensor:
    """Return what is differentiated."""
    if ending.labels is None:
        outputs = _outputs(model(x, output_hidden_states=True))
        return sum((y * torch.tensor(g).to(x.dtype)).sum() for y, g in zip(outputs, ending.upstream, strict=True))
    labels = torch.tensor(ending.labels)
    model.config.problem_type = ending.problem_type
    outputs = model(x, labels=labels.to(x.dtype) if labels.is_floating_point() else labels, output_hidden_states=True)
    model.config.problem_type = None
    return outputs.loss


def _outputs(output: Any) -> list[torch.Tensor]:
    """Return what npconv's plans call the outputs of a model of transformers."""
    if output.get("feature_maps") is not None:
        return list(output["feature_maps"])
    names = ["logits", "cls_token_value", "last_hidden_state"]
    if output.get("pooler_output") is not None and output["last_hidden_state"].ndim == 4:
        names.insert(0, "pooler_output")  # the end where the last hidden state is a map; DINOv3's are tokens
    return [next(output[name] for name in names if output.get(name) is not None)]


def distances(found: Mapping[str, np.ndarray], truth: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Return the distance of every gradient."""
    if set(found) != set(truth):
        raise ValueError(f"expected the gradients {sorted(truth)}, got {sorted(found)}")
    return {name: _distance(found[name], truth[name], scale) for name, scale in scales(truth).items()}


def _distance(found: np.ndarray, truth: np.ndarray, scale: float) -> float:
    """Return the largest difference by a scale."""
    if found.shape != truth.shape:
        raise ValueError(f"expected shape {truth.shape}, got {found.shape}")
    difference = float(np.abs(found.astype(np.float64) - truth).max())
    return 0.0 if difference == 0 else difference / scale


def scales(truth: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Return what the distance of each gradient is relative to."""
    own = {name: float(np.abs(gradient).max()) for name, gradient in truth.items()}
    largest: dict[str, float] = {}
    for name, value in own.items():
        largest[block_of(name)] = max(value, largest.get(block_of(name), 0.0))
    return {
        name: value if value > ZERO * largest[block_of(name)] else largest[block_of(name)]
        for name, value in own.items()
    }


def block_of(name: str) -> str:
    """Return the block that a parameter belongs to, or the module outside of blocks."""
    found = re.match(r".*\.layers\.\d+(?=\.)", f".{name}")
    return found[0] if found else name.rpartition(".")[0] or name


@dataclass(frozen=True)
class Measured:
    """One case: what both give in float64, and the distances of both in float32 from the truth."""

    ours: Backward
    theirs: Backward
    ours_float32: dict[str, float]
    theirs_float32: dict[str, float]


def measure(case: Case) -> Measured:
    """Run a case in float64 and float32."""
    ours, theirs = ours_backward(case), theirs_backward(case)
    return Measured(
        ours,
        theirs,
        distances(ours_backward(case, "float32").gradients, theirs.gradients),
        distances(theirs_backward(case, torch.float32).gradients, theirs.gradients),
    )


@cache
def random_measure(family: str, seed: int) -> Measured:
    """Run a random case."""
    return measure(random_case(family, seed))


def ratios(measured: Sequence[Measured]) -> tuple[float, float]:
    """Return ours by theirs in float32 over all gradients: of the geometric means, and of the maxima."""
    ours = np.array([value for case in measured for value in case.ours_float32.values()])
    theirs = np.array([value for case in measured for value in case.theirs_float32.values()])
    # A gradient may be exact by chance. No error smaller than a quarter of a unit roundoff is told from that.
    floor = 2.0**-26
    ratio = np.exp(np.log(np.maximum(ours, floor)).mean() - np.log(np.maximum(theirs, floor)).mean())
    return float(ratio), float(ours.max() / theirs.max())


def main() -> None:
    """Print the figures."""
    print(f"{parity.CASES} random configurations a family; torch {torch.__version__}, numpy {np.__version__}")
    for family in FAMILIES:
        measured = [random_measure(family, seed) for seed in range(parity.CASES)]
        worst = max(max(distances(case.ours.gradients, case.theirs.gradients).values()) for case in measured)
        mean_ratio, max_ratio = ratios(measured)
        print(f"{family}: {sum(len(case.ours_float32) for case in measured)} gradients")
        print(f"  float64, npconv to autograd: at most {worst:.1e}")
        print(f"  float32 to the truth, npconv by PyTorch: geometric mean {mean_ratio:.2f}, maximum {max_ratio:.2f}")


if __name__ == "__main__":
    main()
