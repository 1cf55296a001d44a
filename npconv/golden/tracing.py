"""Record what a model computes: every array of a call by name, in the order in which it came to be.

The model itself is not looked into. It runs as ever; then its plan runs on the same pixel values and parameters, and
its results are recorded. That the two are the same is checked at every call, bit for bit.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from npconv.api.heads import OBSERVER, BareModel
from npconv.backend import device_module, to_host
from npconv.errors import GoldenError
from npconv.golden.course import Course, make_course
from npconv.golden.trace_file import FORMAT, PIXELS, Trace
from npconv.images.versions import library_versions
from npconv.messages import nearest, quoted
from npconv.plan.gradient_steps import is_share
from npconv.plan.step import Plan


@contextmanager
def trace(only: str | Sequence[str] | None = None, *, gradients: bool = False) -> Iterator[Trace]:
    """Record the model call in a ``with`` block, every named array of it.

    Parameters
    ----------
    only : str or sequence of str, optional
        Patterns (``"encoder.stages.2.*"``) of the names to record, with or without the family's name in front. All
        when unset. The pixel values are always recorded.
    gradients : bool
        Record the loss and all gradients too, ``NAME.grad``: of a classifier of ``model(pixel_values, labels=...)``,
        of another model of half the sum of squares of each output.

    Yields
    ------
    Trace
        Empty until the model is called. Its arrays are in the model's dtype (parts of GRN and attention in float32
        where the model is in float16), on the host; ``params`` stays empty.

    Raises
    ------
    GoldenError
        If the block calls no model or a second one, the model has ``engine="fast"``, the call is one with
        ``training=True``, its activation is a function without a name, no name fits a pattern, gradients are asked of
        a classifier without labels, or the results of the plan differ from the model's by a bit.

    Notes
    -----
    Only calls of the thread that opened the block are seen. A model call inside takes more than twice its time, as the
    model runs, and then its plan; outside, nothing.
    """
    recorded = Trace()

    def observe(model: Any, pixel_values: Any, output: Any, training: bool, labels: Any) -> None:
        if recorded.about:
            raise GoldenError("expected one model call in a trace, got a second; open a trace for each")
        _check_traceable(model, training)
        course = make_course(
            model.config, task_of(model), gradients, labels if gradients else None, device=model.device
        )
        record_into(recorded, model, course, pixel_values, lambda: output, only)

    token = OBSERVER.set(observe)
    try:
        yield recorded
    finally:
        OBSERVER.reset(token)
    if not recorded.about:
        raise GoldenError("expected a model call in the trace, got none; call the model inside the with block")


def record_into(
    recorded: Trace,
    model: Any,
    course: Course,
    pixel_values: Any,
    output: Callable[[], Any],
    only: str | Sequence[str] | None = None,
    rng: np.random.Generator | None = None,
) -> None:
    """Run the plan of a model and add its results to a trace; refuse them if they are not those of the model.

    What the model gave out is asked of `output` when the plan has been run, so that both may run at the same time.
    """
    plan = course.forward
    names = choose_names(course.whole, only, model.base_model_prefix) | course.masks
    given_out = {*plan.hidden_states, *plan.outputs}
    inputs = course.inputs(pixel_values)
    arrays = {
        name: to_host(array).copy() for name, array in inputs.items()
    }  # the caller may write to those of the call
    checked = {}
    for name, result in course.run(inputs, model.state_dict(), names | given_out, rng):
        if name in given_out:
            checked[name] = result
        if name in names:
            arrays[name] = to_host(result)
    for name, expected in results_of(plan, model, output()).items():
        if name in checked and not _same_bits(to_host(checked[name]), to_host(expected)):
            raise GoldenError(
                f"{name}: the plan's result is not bit for bit the model's; a trace records the functions of "
                "npconv.models, called as they are"
            )
    for name in course.names:
        if name in arrays:
            recorded.add(name, arrays[name])
    recorded.about.update(describe(model, course, pixel_values))


def describe(model: Any, course: Course, pixel_values: Any) -> dict[str, Any]:
    """Return where the arrays of a trace come from, as JSON values; see the table in ``npconv/golden/README.md``.

    ``order`` is not there: a trace has it by itself, and a file is given it when it is written.
    """
    return {
        "format": FORMAT,
        "task": task_of(model),
        "family": model.config.model_type,
        "config": json.loads(model.config.to_json_string(use_diff=False)),
        "dtype": model.dtype.name,
        "checkpoint": hash_parameters(model.state_dict()),
        "input": hash_array(pixel_values),
        "versions": library_versions() | array_library(model.device),
        "steps": course.plan.to_json(),
        "layouts": {PIXELS: "NCHW", **{step.name: step.layout for step in course.whole}},
        "aliases": {alias: step.name for step in course.plan for alias in step.aliases},
    }


def array_library(device: str) -> dict[str, str]:
    """Return the version of CuPy if a model computes with it."""
    module = device_module(device)
    return {"cupy": str(module.__version__)} if module.__name__ == "cupy" else {}


def task_of(model: Any) -> str:
    """Return what a model is for, as :func:`npconv.models.plans.make_plan` takes it."""
    if not isinstance(model, BareModel):
        raise GoldenError(f"expected a model of npconv, got {type(model).__name__}")
    return model.task


def hash_parameters(params: Mapping[str, Any]) -> str:
    """Return the SHA-256 of floating-point parameters.

    Of each parameter, sorted by name: its name, a zero byte, its shape (``"96,3,4,4"``), a zero byte, and its numbers
    as little-endian float32. A model in float64 that was made of float32 weights has the hash of these. Integers
    (``num_batches_tracked``) have no effect on a result and do not count.
    """
    digest = hashlib.sha256()
    for name in sorted(params):
        if params[name].dtype.kind == "f":
            shape = ",".join(map(str, params[name].shape))
            digest.update(f"{name}\0{shape}\0".encode())
            digest.update(_float32_bytes(params[name]))
    return digest.hexdigest()


def hash_array(array: Any) -> str:
    """Return the SHA-256 of an array's numbers as little-endian float32, in C order."""
    return hashlib.sha256(_float32_bytes(array)).hexdigest()


def choose_names(plan: Plan, only: str | Sequence[str] | None, prefix: str = "") -> set[str]:
    """Return the names of the steps that fit a pattern, by name or alias, with or without ``prefix.`` in front.

    A pattern that fits no step is refused.
    """
    if only is None:
        return {step.name for step in plan if not is_share(step.name)}
    patterns = [only] if isinstance(only, str) else only
    if not patterns:
        raise GoldenError("expected a pattern of names to record at least, or None for all, got an empty list")
    chosen: set[str] = set()
    for pattern in patterns:
        found = fitting(plan, pattern, prefix)
        if not found and pattern != PIXELS:
            near = nearest(pattern, [step.name for step in plan], alike=0) or plan.steps[0].name
            raise GoldenError(
                f"expected names or patterns of names, got {quoted(pattern)}, which fits none; such as {near}"
            )
        chosen |= found
    return chosen


def fitting(plan: Plan, pattern: str, prefix: str = "") -> set[str]:
    """Return the names of the steps that fit one pattern."""
    return {
        step.name
        for step in plan
        if not is_share(step.name)
        for name in (step.name, *step.aliases)
        if fnmatchcase(name, pattern) or fnmatchcase(name.removeprefix(f"{prefix}."), pattern)
    }


def _check_traceable(model: Any, training: bool) -> None:
    """Refuse calls whose arrays the plan does not compute."""
    if model.engine != "explicit":
        raise GoldenError(f"expected a model with engine='explicit' to trace, got engine={model.engine!r}")
    if training:
        raise GoldenError(
            "expected a call with training=False to trace, as the masks that it draws are not seen; "
            "npconv.golden.record(..., training=True) records one in training"
        )


def results_of(plan: Plan, model: Any, output: Any) -> dict[str, Any]:
    """Return what the model gave out by the names of the steps that should give the same."""
    maps = output.hidden_states
    if task_of(model) == "backbone":
        outputs = output.feature_maps
    elif "last_hidden_state" in output and output.last_hidden_state is not maps[-1]:
        outputs = [output.last_hidden_state]  # what other outputs are parts of
    else:  # pooled features, a class token or logits; or there is the last map alone
        beside = [output[name] for name in output if name not in ("loss", "last_hidden_state", "hidden_states")]
        outputs = beside or [output.last_hidden_state]
    pairs = [*zip(plan.hidden_states, maps, strict=True), *zip(plan.outputs, outputs, strict=True)]
    return dict(pairs)


def _same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    """Tell whether two arrays of floating-point numbers are the same, bit for bit."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    bits = f"u{a.dtype.itemsize}"
    return np.array_equal(np.ascontiguousarray(a).view(bits), np.ascontiguousarray(b).view(bits))


def _float32_bytes(array: Any) -> memoryview:
    """Return an array's numbers as little-endian float32, in C order."""
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite
        return np.ascontiguousarray(to_host(array), "<f4").reshape(-1).view(np.uint8).data
