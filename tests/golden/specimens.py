"""Tiny models with their golden traces, in which the proof makes mistakes as ports do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from npconv.errors import GoldenError
from npconv.golden.blocks import BACKWARD
from npconv.golden.mistakes import Mistake, apply
from npconv.golden.preprocessing import IMAGE, image_of, record_preprocessing, with_preprocessing
from npconv.golden.trace_file import PIXELS, Trace
from npconv.golden.truth import record
from npconv.images import ConvNextImageProcessor
from npconv.models import FAMILIES
from npconv.plan.gradient_steps import is_share
from npconv.plan.run import run_plan
from npconv.plan.step import Plan
from tests.golden.tiny_models import TinyGradients, TinyModel, every_model, gradients_of
from tests.golden.tiny_models.pictures import PICTURES, TinyPicture

#: Operations that models have in training only, forwards.
TRAINING = (
    *("cross_entropy", "mean_squared_error", "binary_cross_entropy_with_logits", "half_square", "sum_gradients"),
    *("drop_path", "dropout", "batch_norm_training", "running_mean", "running_var"),
)

#: What stands for a family in rows of mistakes in preprocessing, which all families share.
PICTURE = "picture"


@dataclass(frozen=True, eq=False)
class Specimen:
    """A model, or preprocessing with a model after it. Mistakes are made in the first part.

    Parameters
    ----------
    family, says : str
    golden : Trace
    parts : sequence of (Plan, str)
        The plans of a port, and the name of the array that each takes.
    start : ndarray
        What the first plan takes.
    about : mapping
        What the port's trace says of itself.
    given : mapping of str to ndarray
        What the first plan takes beside that: of one with gradients, labels, the gradients of the losses, and masks.
    """

    family: str
    says: str
    golden: Trace
    parts: Sequence[tuple[Plan, str]]
    start: np.ndarray
    about: Mapping[str, Any]
    given: Mapping[str, np.ndarray] = field(default_factory=dict)

    def place(self, mistake: Mistake) -> str | None:
        """Return the first tensor that shows a mistake, by the first step where it can be made; None if there is none.

        What a step gives to a gradient that is a sum shows in the sum.
        """
        plan, _ = self.parts[0]
        wrong = [step.name for step in plan if mistake.at(step, plan) is not None]
        shown = {name.rpartition(".")[0] if is_share(name) else name for name in wrong}
        return next((step.name for step in plan if step.name in shown), None)

    def tries(self, mistake: Mistake) -> bool:
        """Tell whether a mistake is looked for here: one of training where there are gradients, others elsewhere."""
        is_of_training = mistake.operation in TRAINING or mistake.operation.endswith(BACKWARD)
        return is_of_training == bool(self.given)

    def port(self, mistake: Mistake) -> Trace:
        """Return the trace of a port in float32 that makes a mistake wherever it can."""
        mine = Trace(self.about)
        array = self.start
        try:
            for plan, source in self.parts:
                if source == PIXELS:
                    mine.add(source, array)
                wrong, function_of = apply(mistake, plan)
                with np.errstate(all="ignore"):
                    arrays = {source: array, **self.given}
                    for step, result in run_plan(wrong, arrays, self.golden.params, function_of):
                        if not is_share(step.name):
                            mine.add(step.name, result)
                array = mine[plan.outputs[0]][None]
        except GoldenError:  # no step can take what the mistake made
            pass
        return mine


def specimens() -> Iterator[Specimen]:
    """Yield all specimens, one after another."""
    for tiny in every_model():
        yield model_specimen(tiny)
    for picture in PICTURES:
        yield picture_specimen(picture)
    for family in FAMILIES:
        yield from map(gradient_specimen, gradients_of(family))


def model_specimen(tiny: TinyModel) -> Specimen:
    """Return a model with its golden trace."""
    model, pixel_values = tiny.make()
    golden = record(model, pixel_values)
    parts = [(_plan(golden), PIXELS)]
    return Specimen(tiny.family, tiny.says, golden, parts, pixel_values, {"input": golden.about["input"]})


def gradient_specimen(tiny: TinyGradients) -> Specimen:
    """Return a model with its golden trace, gradients included."""
    model, pixel_values = tiny.model.make()
    golden = record(model, pixel_values, gradients=True, labels=tiny.labels, training=tiny.training)
    plan = _plan(golden)
    given = {
        name: array.astype(np.float32) if array.dtype.kind == "f" else array
        for name, array in golden.items()
        if name not in plan and name != PIXELS
    }
    parts, about = [(plan, PIXELS)], {"input": golden.about["input"]}
    return Specimen(tiny.model.family, tiny.says, golden, parts, pixel_values, about, given)


def picture_specimen(tiny: TinyPicture) -> Specimen:
    """Return the preprocessing of a picture, and a model after it, with the golden trace of both."""
    picture = tiny.make()
    before, about = record_preprocessing(ConvNextImageProcessor(**tiny.settings), picture)
    model, _ = every_model()[0].make()
    after = record(model, before[PIXELS])
    photo = {"photo": tiny.says}  # stands for the hash of a file, the same in both traces
    golden = with_preprocessing(after, before, {**photo, "preprocessing": about})
    parts = [(Plan.from_json(about["steps"]), IMAGE), (_plan(after), PIXELS)]
    return Specimen(PICTURE, tiny.says, golden, parts, image_of(picture), photo)


def _plan(golden: Trace) -> Plan:
    """Return the plan that made a golden trace."""
    return Plan.from_json(golden.about["steps"])
