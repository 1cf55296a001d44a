"""The golden trace of a model: what it computes without rounding, and how far rounding moves each tensor.

**Truth** is the plan of the model in float64 on the float32 weights: its own rounding is 2**29 times smaller than that
of float32, and so does not count. **Noise** is the largest absolute difference from it, tensor by tensor, of runs in
float32 that are all correct:

- ``explicit``: the plan in float32.
- ``perturbed``: the plan in float32 with every weight off by up to a unit in the last place, the largest of
  :data:`PERTURBED_RUNS` runs, or :data:`PERTURBED_RUNS_BACK`. One run may be right by luck, such as where the sums of a
  small layer come out exact; these are not, and they show how much the model amplifies what is rounded before.
- ``fast``: the fast engine, of what it gives out: hidden states and outputs.
- ``recorded``: runs of other correct programs, such as PyTorch's, where there are traces of them: :func:`add_noise`.

What tolerance follows is said in :mod:`npconv.golden.measures`.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from os import PathLike
from typing import Any

import numpy as np

import npconv.api
from npconv.api import AutoConfig, AutoModelForImageClassification
from npconv.api.heads import BareModel
from npconv.backend import to_host
from npconv.cores import at_once
from npconv.errors import GoldenError, InputError, NpconvError
from npconv.golden.compare import compare
from npconv.golden.course import Course, make_course
from npconv.golden.measures import distance
from npconv.golden.roundings import perturbed
from npconv.golden.trace_file import PIXELS, Trace
from npconv.golden.tracing import record_into, results_of, task_of
from npconv.plan.step import Plan

PERTURBED_RUNS = 2

#: The same with gradients: those of parameters are sums over all pictures and positions, whose errors cancel by luck.
PERTURBED_RUNS_BACK = 4

DTYPES = ("float64", "float32")


def record(
    model: BareModel[Any] | str | PathLike[str],
    pixel_values: Any,
    *,
    noise: bool = True,
    only: str | Sequence[str] | None = None,
    dtype: str = "float64",
    weights: bool = True,
    gradients: bool = False,
    labels: Any = None,
    training: bool = False,
    rng: int = 0,
) -> Trace:
    """Record the golden trace of a model.

    Parameters
    ----------
    model : model of npconv, str or path
        A name is looked up as by ``from_pretrained``; its ``config.json`` says of what kind the model is. Weights of a
        model in float64 are rounded to float32 first.
    pixel_values : array (N, C, H, W)
        Normalized pictures; taken as float32.
    noise : bool
        Measure it, by four more runs, or six with gradients; only with ``dtype="float64"``.
    only : str or sequence of str, optional
        Patterns of the names to record, as for :func:`npconv.golden.trace`. The weights are then those of these steps.
    dtype : {"float64", "float32"}
        Of the arrays: the truth, or what the explicit engine makes of it in float32.
    weights : bool
        Put the weights into the trace, as float32.
    gradients : bool
        Go on with the loss, and the gradient of each tensor, parameter and pixel, ``NAME.grad``.
    labels : array or sequence, optional
        What the loss of a classifier is of, with `gradients`: the class of each picture, as for the model itself. Of
        models without classes, the loss is half the sum of squares of each output.
    training : bool
        With dropout and drop path, whose masks are recorded too, and batch norms that take the statistics of the batch.
    rng : int
        The seed of the masks.

    Returns
    -------
    Trace
        ``pixel_values`` as float32, then the tensors in execution order.

    Raises
    ------
    NpconvError
        If there is no such model, or the pixel values do not fit it.
    GoldenError
        If the model cannot be traced, or overflows in float32 (without noise, in `dtype`).
    """
    if dtype not in DTYPES:
        raise GoldenError(f"expected dtype to be one of {', '.join(DTYPES)}; got {dtype!r}")
    model = load_model(model) if isinstance(model, str | PathLike) else model
    course = make_course(model.config, task_of(model), gradients, labels, training)
    params = {name: _as_float32(to_host(array)) for name, array in model.state_dict().items()}
    x = _pixels(pixel_values)
    trace = _trace(type(model)(model.config, params, dtype=dtype), course, x, only, rng if training else None)
    if noise and dtype == "float64":
        trace.about["noise"] = measure_noise(trace, course, model, params)
    if weights:
        used = {name for step in course.plan if step.name in trace for name in step.params.values()}
        trace.params.update({name: params[name] for name in sorted(used)} if only is not None else params)
    return trace


def load_model(name: str | PathLike[str]) -> BareModel[Any]:
    """Return the model of a name, of the class that its ``config.json`` names; a classifier if npconv has no such."""
    found = class_of(AutoConfig.from_pretrained(str(name))) or AutoModelForImageClassification
    model: BareModel[Any] = found.from_pretrained(str(name))
    return model


def class_of(config: Any) -> Any:
    """Return the class of models that a configuration names; None if npconv has no such."""
    known = [getattr(npconv.api, kind) for kind in config.architectures or [] if kind in npconv.api.__all__]
    return next((kind for kind in known if isinstance(kind, type) and issubclass(kind, BareModel)), None)


def measure_noise(
    truth: Mapping[str, np.ndarray], course: Course, model: BareModel[Any], params: Mapping[str, np.ndarray]
) -> dict[str, dict[str, float]]:
    """Return how far correct float32 runs are from the truth, by tensor and kind of run; see the top of this module.

    The arrays of each run are compared as they are made, and let go. Of `model` only configuration and class matter.
    A float32 run that overflows where the truth does not is refused.
    """
    noise: dict[str, dict[str, float]] = {name: {} for name in truth if name in course.plan}
    names = set(noise)
    given = {name: _as_float32(array) for name, array in truth.items() if name not in noise}

    def errors(seed: int) -> dict[str, float]:
        return _errors(truth, course.run(given, perturbed(params, seed) if seed else params, names))

    explicit, *others = at_once(errors, range(1 + (PERTURBED_RUNS_BACK if course.losses else PERTURBED_RUNS)))
    fast = {} if course.training else _errors(truth, _fast(course.forward, model, params, given[PIXELS], names))
    for kind, run in (("explicit", explicit), *(("perturbed", run) for run in others), ("fast", fast)):
        for name, error in run.items():
            noise[name][kind] = max(noise[name].get(kind, 0.0), error)
    return noise | {name: {"given": 0.0} for name in given if name != PIXELS}


def _errors(truth: Mapping[str, np.ndarray], results: Iterable[tuple[str, np.ndarray]]) -> dict[str, float]:
    """Return how far each result is from the truth; refuse what is not finite."""
    found = {}
    with np.errstate(all="ignore"):  # an overflow is seen by its result
        for name, result in results:
            found[name] = distance(truth[name], np.asarray(result))
            if not np.isfinite(found[name]):
                raise GoldenError(
                    f"{name}: the model overflows in float32, so its noise cannot be measured; go without"
                )
    return found


def add_noise(golden: Trace, recorded: Trace) -> None:
    """Take the errors of another correct float32 run, such as PyTorch's, into the noise of a golden trace.

    Raises
    ------
    GoldenError
        If the traces cannot be compared, the golden one has no noise, or the other diverges from it: then it is no
        correct run.
    """
    noise = golden.about.get("noise")
    if noise is None:
        raise GoldenError("expected a golden trace with measured noise to add a run to, got one without")
    comparison = compare(golden, recorded, strict=True)
    if comparison.first is not None:
        raise GoldenError(f"the recorded run diverges at {comparison.first.name}, so it is no noise; see npconv diff")
    for difference in comparison.differences:
        if difference.name in noise:
            runs = noise[difference.name]
            runs["recorded"] = max(runs.get("recorded", 0.0), difference.max_abs)


def _fast(
    plan: Plan, model: BareModel[Any], params: Mapping[str, np.ndarray], x: np.ndarray, names: Container[str]
) -> Iterator[tuple[str, np.ndarray]]:
    """Give out what the fast engine does, by name."""
    fast = type(model)(model.config, params, engine="fast")
    output = fast(x, output_hidden_states=True, return_dict=True)
    for name, result in results_of(plan, fast, output).items():
        if name in names:
            yield name, result


def _trace(
    model: BareModel[Any], course: Course, x: np.ndarray, only: str | Sequence[str] | None, seed: int | None
) -> Trace:
    """Return the trace of a model, with the pixel values as they came; of a call in training if there is a seed."""
    cast = x.astype(model.dtype)
    recorded = Trace()
    quiet_model: Any = np.errstate(all="ignore")(model)
    call = {"output_hidden_states": True, "return_dict": True, "training": seed is not None, "rng": seed}
    with ThreadPoolExecutor(1) as pool, np.errstate(all="ignore"):
        running = pool.submit(quiet_model, cast, **call)
        try:
            rng = None if seed is None else np.random.default_rng(seed)
            record_into(recorded, model, course, cast, running.result, only, rng)
        except NpconvError:
            running.result()  # what the model says of its input comes first
            raise
    trace = Trace(recorded.about)
    for name, array in recorded.items():
        if not np.isfinite(array).all():
            raise GoldenError(f"{name}: NaN or infinity in {model.dtype}; a golden trace needs finite numbers")
        trace.add(name, x if name == PIXELS else array)
    return trace


def _pixels(pixel_values: Any) -> np.ndarray:
    """Return pixel values as float32."""
    x = np.asarray(to_host(pixel_values))
    if x.dtype.kind not in "fiu" or x.ndim != 4:
        raise InputError(f"expected pixel_values as numbers of shape (N, C, H, W), got {x.dtype} {x.shape}")
    with np.errstate(over="ignore"):
        return x.astype(np.float32)


def _as_float32(array: np.ndarray) -> np.ndarray:
    """Return a parameter as float32, a counter as it is."""
    return array.astype(np.float32) if array.dtype.kind == "f" else array
