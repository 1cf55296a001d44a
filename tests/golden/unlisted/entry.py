"""What a mistake of the benchmark is, and by what a reason for it is judged."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from npconv.golden.align import AS_IT_IS, Reading
from npconv.golden.diagnose import Suspect
from npconv.golden.measures import distance
from npconv.golden.preprocessing import DECODED
from npconv.golden.trace_file import PIXELS, Trace
from npconv.plan.step import Plan
from tests.golden.specimens import PICTURE, Specimen, model_specimen, picture_specimen
from tests.golden.tiny_models import models_of
from tests.golden.tiny_models.pictures import PICTURES
from tests.golden.unlisted.port import Edit, Port

#: A number in a sentence; those in the names of steps and formats are none.
NUMBER = re.compile(r"(?<![\w.])[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?(?![\w]|\.\w)", re.I)


@dataclass(frozen=True)
class Reason:
    """By what a stated reason is right: all of this.

    Parameters
    ----------
    words : tuple of str
        Regular expressions that its sentence, or its values written as ``name = value``, must hold, in any case.
    numbers : tuple of float
        If any, one of them must be said, up to `within` as a share.
    never : str
        A regular expression that must not be in the sentence.
    also_kinds : tuple of str
        Kinds beside the mistake's own that it may go by.
    """

    words: tuple[str, ...]
    numbers: tuple[float, ...] = ()
    within: float = 2e-3
    never: str = ""
    also_kinds: tuple[str, ...] = ()


def reason(*words: str, **others: Any) -> Reason:
    """Return a reason."""
    return Reason(words, **others)


@dataclass(frozen=True)
class Entry:
    """A mistake that no catalogue holds.

    Parameters
    ----------
    kind : str
    name : str
    family : str
        Of models, or ``"picture"``.
    step : str
        The end of the name of the first step whose array is wrong.
    how : callable
        The edit that makes it, there.
    accepts : Reason
    origin : str
        How a porter comes to make it.
    model : str
        Which tiny model of the family, or which tiny picture.
    """

    kind: str
    name: str
    family: str
    step: str
    how: Edit
    accepts: Reason
    origin: str
    model: str = "usual"

    def port(self, traces: str = "full") -> Trace:
        """Return the trace of a port that makes the mistake: of all steps, or of outputs alone (``"coarse"``)."""
        specimen = specimen_of(self.family, self.model)
        return _PORTS[self.family == PICTURE](specimen, self, traces)

    def golden(self) -> Trace:
        """Return the golden trace that the port is held against."""
        return specimen_of(self.family, self.model).golden

    def is_right(self, suspect: Suspect, first: str, reading: Reading = AS_IT_IS) -> bool:
        """Tell whether a stated reason is the true one, or another one that is the same function: told or proven.

        It is stated of the first wrong array, as the port has it, with its axes read in some order.
        """
        return self.is_told(suspect) or is_same(self, suspect, first, reading)

    def is_told(self, suspect: Suspect) -> bool:
        """Tell whether a stated reason names the kind of thing, the place and the number."""
        values: Mapping[str, Any] = getattr(suspect, "values", {})
        text = " ".join([suspect.says, *(f"{name} = {value}" for name, value in values.items())])
        if Port(self.plan(), {}).find(self.step) not in suspect.places or not self._is_kind(suspect):
            return False
        if self.accepts.never and re.search(self.accepts.never, text, re.I):
            return False
        return all(re.search(word, text, re.I) for word in self.accepts.words) and self._says_number(text, values)

    def plan(self) -> Plan:
        """Return the plan in which the mistake is made."""
        return specimen_of(self.family, self.model).parts[0][0]

    def first_wrong(self, traces: str) -> str:
        """Return the name of the first array of a trace that must be wrong: the first that is computed of the step."""
        plan, wrong = self.plan(), {Port(self.plan(), {}).find(self.step)}
        for step in plan:
            if not wrong.isdisjoint(step.inputs):
                wrong.add(step.name)
        if self.family == PICTURE:
            return next(step.name for step in plan if step.name in wrong) if traces == "full" else PIXELS
        names = outputs_of(plan) if traces == "coarse" else [step.name for step in plan]
        return next(name for name in names if name in wrong)

    def _is_kind(self, suspect: Suspect) -> bool:
        """Tell whether a suspect is of a right kind; one that has none, or is in the catalogue, is of no wrong one."""
        kind = getattr(suspect, "kind", "")
        unsaid = not kind or suspect.mistake is not None or self.kind == "several"
        return unsaid or kind in (self.kind, *self.accepts.also_kinds)

    def _says_number(self, text: str, values: Mapping[str, Any]) -> bool:
        """Tell whether one of the numbers is said."""
        said = [float(number) for number in NUMBER.findall(text)]
        said += [float(value) for value in values.values() if isinstance(value, float | np.floating)]
        expected, within = self.accepts.numbers, self.accepts.within
        return not expected or any(abs(one - other) <= within * abs(one) for one in expected for other in said)


#: Two mistakes are the same if they differ on random inputs by no more than this share of what one of them changes, or
#: if numbers were solved for that are as near as float32 lets them be: a share of the largest value, and of the change.
SAME, SOLVED, TOLD = 1e-5, 2.0**-22, 1e-3


def is_same(entry: Entry, suspect: Suspect, first: str, reading: Reading = AS_IT_IS) -> bool:
    """Tell whether a stated reason is the same function as the mistake, by running both in float64 on random inputs.

    What is compared is the first wrong array, which the reason is given for.
    """
    if not suspect.changes:
        return False
    specimen = specimen_of(entry.family, entry.model)
    plan, source = specimen.parts[0]
    rng = np.random.default_rng(zlib.crc32(entry.name.encode()))
    is_picture = specimen.start.dtype == np.uint8
    normal = rng.normal(specimen.start.mean(), specimen.start.std(), specimen.start.shape)
    start = {source: rng.integers(0, 256, specimen.start.shape, np.uint8) if is_picture else normal}
    right, made, told = (Port(plan, specimen.golden.params) for _ in range(3))
    entry.how(made, made.find(entry.step))
    for change in suspect.changes:
        told.steps[change.step.name], told.functions[change.step.name] = change.step, change.function
    arrays = [port.run(start, np.float64) for port in (right, made, told)]
    name = plan.outputs[0] if is_picture else plan.resolve(first)
    names = name, made.stands_for.get(name, name), name
    if any(key not in found for key, found in zip(names, arrays, strict=True)):
        return False
    a, b, c = (found[key] for key, found in zip(names, arrays, strict=True))
    b = reading.of(b, a.shape) if is_picture else b
    changed = distance(a, b)
    return distance(c, b) <= max(SAME * changed, min(SOLVED * float(np.abs(b).max()), TOLD * changed))


@cache
def specimen_of(family: str, model: str) -> Specimen:
    """Return a tiny model, or a tiny picture and what makes it ready, with the golden trace."""
    if family == PICTURE:
        return picture_specimen(next(tiny for tiny in PICTURES if tiny.says.startswith(model)))
    return model_specimen(next(tiny for tiny in models_of(family) if tiny.says == model))


def outputs_of(plan: Plan) -> list[str]:
    """Return the names of stage outputs and final outputs, in order, without the input that some families count."""
    names = {plan.resolve(name) for name in (*plan.hidden_states, *plan.outputs) if name != PIXELS}
    return [step.name for step in plan if step.name in names]


def _port_of_model(specimen: Specimen, entry: Entry, traces: str) -> Trace:
    """Return the trace of a model that makes a mistake."""
    plan, source = specimen.parts[0]
    port = Port(plan, specimen.golden.params)
    entry.how(port, port.find(entry.step))
    made = port.run({source: specimen.start})
    trace = Trace(specimen.about)
    trace.add(source, specimen.start)
    for name in outputs_of(plan) if traces == "coarse" else [step.name for step in plan]:
        own = port.stands_for.get(name, name) if traces == "coarse" else name
        if own in made and own not in port.unrecorded:
            trace.add(name, made[own])
    return trace


def _port_of_picture(specimen: Specimen, entry: Entry, traces: str) -> Trace:
    """Return the trace of a picture that is made ready with a mistake: all steps, or the pixel values alone."""
    plan, source = specimen.parts[0]
    port = Port(plan, {})
    entry.how(port, port.find(entry.step))
    made = port.run({source: specimen.start})
    trace = Trace(specimen.about)
    trace.add(DECODED, specimen.golden[DECODED])
    for step in plan if traces == "full" else ():
        if step.name in made and step.name not in port.unrecorded:
            trace.add(step.name, made[step.name])
    trace.add(PIXELS, made[plan.outputs[0]][None])
    return trace


_PORTS: tuple[Callable[[Specimen, Entry, str], Trace], ...] = (_port_of_model, _port_of_picture)
