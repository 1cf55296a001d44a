"""Proof on a GPU: CuPy computes what NumPy does, and how long it takes beside PyTorch.

    python -m tests.device.proof [--json FILE] [--seconds 60]

Needs CuPy and a GPU; PyTorch and transformers only for the times. Takes about two minutes. Four things are checked,
in float32 and float64: every golden case whose operations run on a device; every array of a tiny model of each family,
by its plan; every gradient of one; and the logits of the embedded models, as a user gets them. Then models with random
weights are timed, with 224 x 224 pixels in float32 without TF32, pictures in and logits out. The exit status is 1 if
something differs.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import npconv
from npconv.backend import device_module, to_device, to_host
from npconv.bench.architectures import ARCHITECTURES, write_random_model
from npconv.bench.runners import RUNNERS, Job
from npconv.errors import UnavailableError
from npconv.files.disk import embedded_models
from npconv.golden.case import every_case
from npconv.images.settings import STEPS
from npconv.models import FAMILIES, find_family
from npconv.models.parameters import is_buffer
from npconv.models.plans import make_plan
from npconv.plan.gradient_steps import with_gradients
from npconv.plan.run import run_plan
from npconv.plan.step import Plan
from tests.golden.tiny_models import models_of

#: Largest difference from NumPy in float64, as a share of an array's largest value: some hundred roundings of float32,
#: some thousand of float64.
LIMITS = {"float32": 2e-5, "float64": 1e-12}
#: The tolerance of a golden case is meant for float32; that of float64 is as much smaller as its roundings are.
FINER = {"float32": 1.0, "float64": 2.0**-29}
#: Of the tiny models of a family, those without extreme numbers.
TINY = ("usual", "square")
BATCHES = (1, 8)
PIXELS = "pixel_values"
LEAST_CALLS, MOST_CALLS = 5, 30


def on(device: str, arrays: Any, dtype: str) -> dict[str, Any]:
    """Return arrays by name on a device, those of floating-point numbers in a dtype."""
    return {
        name: to_device(array.astype(dtype) if array.dtype.kind == "f" else array, device)
        for name, array in arrays.items()
    }


def check_cases(device: str) -> Iterator[tuple[str, float]]:
    """Yield the golden cases and how far off the device is, in tolerances."""
    for case in every_case():
        plan = case.plan()
        if any(step.operation in STEPS for step in plan):  # pictures are made ready on the CPU
            continue
        inputs = {f"input.{number}": array for number, array in enumerate(case.inputs)}
        output = plan.resolve(plan.outputs[0])
        for dtype, finer in FINER.items():
            steps = run_plan(plan, on(device, inputs, dtype), on(device, case.params, dtype), only=(output,))
            result = next(to_host(array) for step, array in steps if step.name == output)
            off = np.abs(result - case.expected).max(initial=0.0)
            yield f"{case.operation}/{case.name} {dtype}", float(off / (case.tolerance * finer or 1e-300))


def check_plans(device: str) -> Iterator[tuple[str, float]]:
    """Yield the arrays of tiny models of all families, and how far off the device is, in limits."""
    for family in FAMILIES:
        for tiny in models_of(family):
            if tiny.says not in TINY:
                continue
            model, pixel_values = tiny.make()
            plan = make_plan(model.config, find_family(family).main_task)
            params, given = model.state_dict(), {"pixel_values": pixel_values}
            truth = {s.name: a for s, a in run_plan(plan, on("cpu", given, "float64"), on("cpu", params, "float64"))}
            for dtype in LIMITS:
                for step, array in run_plan(plan, on(device, given, dtype), on(device, params, dtype)):
                    yield f"{family} {tiny.says} {step.name} {dtype}", _off(to_host(array), truth[step.name], dtype)


def check_gradients(device: str) -> Iterator[tuple[str, float]]:
    """Yield the gradients of tiny models, in training and not, and how far off the device is, in limits.

    A gradient is measured against the largest of its module: that of a CvT key's bias is 0, and rounding all there is.
    """
    for family in FAMILIES:
        tiny = next(tiny for tiny in models_of(family) if tiny.says == TINY[0])
        for training in (False, True):
            model, pixel_values = tiny.make()
            plan, given = _gradient_plan(model, pixel_values, training)
            params = model.state_dict()

            def run(place: str, dtype: str) -> dict[str, np.ndarray]:
                steps = run_plan(plan, on(place, given, dtype), on(place, params, dtype))  # noqa: B023 - used at once
                return {step.name: to_host(array) for step, array in steps}

            truth = run("cpu", "float64")
            scales: dict[str, float] = {}
            for name, array in truth.items():
                scales[_module(name)] = max(scales.get(_module(name), 0.0), float(np.abs(array).max(initial=0.0)))
            for dtype in LIMITS:
                for name, array in run(device, dtype).items():
                    off = np.abs(array - truth[name]).max(initial=0.0) / (scales[_module(name)] or 1.0)
                    yield f"{family} {'training' * training} {name} {dtype}", float(off / LIMITS[dtype])


def _module(name: str) -> str:
    """Return the module that an array or a gradient belongs to."""
    return name.removesuffix(".grad").rpartition(".")[0]


def _gradient_plan(model: Any, pixel_values: np.ndarray, training: bool) -> tuple[Plan, dict[str, np.ndarray]]:
    """Return a plan with the gradients of a model, and what it starts from; masks are given, not drawn."""
    task = find_family(model.config.model_type).main_task
    plan = make_plan(model.config, task, training)
    is_classifier = task == "image_classification"
    of = [PIXELS, *(name for name in model.state_dict() if not is_buffer(name))]
    options = {"ignore_index": -100} if is_classifier else {}
    plan = with_gradients(plan, of, "cross_entropy" if is_classifier else None, **options)
    losses = {f"{step.name}.grad": np.ones(()) for step in plan if step.name.partition(".")[0] == "loss"}
    given = {PIXELS: pixel_values, "labels": np.zeros(len(pixel_values), np.int64), **losses}
    return plan, given


def check_models(device: str) -> Iterator[tuple[str, float]]:
    """Yield the embedded models and how far off their logits are on the device, in limits."""
    sample = Path(npconv.__file__).parent / "zoo" / "samples" / "ship.png"
    for name in embedded_models():
        pixel_values = npconv.AutoImageProcessor.from_pretrained(name)(sample)["pixel_values"]
        truth = npconv.AutoModelForImageClassification.from_pretrained(name, dtype="float64")(pixel_values).logits
        for dtype in LIMITS:
            model = npconv.AutoModelForImageClassification.from_pretrained(name, dtype=dtype, device=device)
            yield f"{name} {dtype}", _off(to_host(model(pixel_values).logits), truth, dtype)


def _off(array: np.ndarray, truth: np.ndarray, dtype: str) -> float:
    """Return the largest difference from the truth, in limits."""
    return float(np.abs(array - truth).max() / np.abs(truth).max() / LIMITS[dtype])


CHECKS = (check_cases, check_plans, check_gradients, check_models)


def check(device: str) -> dict[str, Any]:
    """Return how many results were compared, the worst of each kind in units of what is allowed, and all beyond it."""
    report: dict[str, Any] = {}
    for part in CHECKS:
        found = dict(part(device))
        worst = max(found, key=lambda name: found[name])
        wrong = {name: off for name, off in found.items() if not off <= 1}
        report[part.__name__] = {"compared": len(found), "worst": {worst: found[worst]}, "wrong": wrong}
    return report


def measure(device: str, seconds: float) -> Iterator[dict[str, Any]]:
    """Yield the times of a call of each engine; PyTorch compiles only as long as time is left."""
    stop = time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as scratch:
        folders = {name: Path(scratch) / name for name in ARCHITECTURES}
        for name, folder in folders.items():
            write_random_model(ARCHITECTURES[name](), folder)
        for engine in ("explicit", "torch", "torch_compile"):
            for name, folder in folders.items():
                if time.monotonic() < stop:
                    yield from measure_engine(engine, name, Job(str(folder), device=device, scratch=scratch))


def measure_engine(engine: str, model: str, job: Job) -> Iterator[dict[str, Any]]:
    """Yield the median time of a call for each batch size; of a failure, what was said."""
    try:
        compute = RUNNERS[engine](job)
        for batch in BATCHES:
            pixel_values = np.random.default_rng(batch).normal(size=(batch, 3, 224, 224)).astype(np.float32)
            times = []
            for _ in range(3):
                compute(pixel_values)
            while len(times) < LEAST_CALLS or (len(times) < MOST_CALLS and sum(times) < 1):
                start = time.perf_counter()
                compute(pixel_values)
                times.append(time.perf_counter() - start)
            yield {"model": model, "engine": engine, "batch": batch, "milliseconds": 1e3 * float(np.median(times))}
    except Exception as error:  # whatever a rival says on a machine that it does not like
        yield {"model": model, "engine": engine, "failure": f"{type(error).__name__}: {error}"}


def operation_times(device: str) -> dict[str, float]:
    """Return the milliseconds that the explicit engine spends in each operation of ConvNeXt-T, 8 pictures."""
    with tempfile.TemporaryDirectory() as scratch:
        write_random_model(ARCHITECTURES["convnext-tiny"](), Path(scratch))
        model = npconv.AutoModelForImageClassification.from_pretrained(scratch, device=device)
    plan = make_plan(model.config, model.task)
    given = {"pixel_values": to_device(np.zeros((8, 3, 224, 224), np.float32), device)}
    synchronise = device_module(device).cuda.Device().synchronize
    for _ in range(2):  # the first time compiles kernels
        spent: dict[str, float] = {}
        start = time.perf_counter()
        for step, _array in run_plan(plan, given, model.state_dict()):
            synchronise()
            now = time.perf_counter()
            spent[step.operation] = spent.get(step.operation, 0.0) + 1e3 * (now - start)
            start = now
    return dict(sorted(spent.items(), key=lambda entry: -entry[1]))


def gpu_name() -> str:
    """Return what the GPU and CuPy are called."""
    cupy = device_module("cuda")
    properties = cupy.cuda.runtime.getDeviceProperties(0)
    return f"{properties['name'].decode()}, CuPy {cupy.__version__}"


def main(argv: list[str] | None = None) -> int:
    """Print what was found; return 1 if something differs, 2 without a GPU."""
    parser = argparse.ArgumentParser(prog="python -m tests.device.proof", description=__doc__.partition("\n")[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything there as well")
    parser.add_argument("--seconds", type=float, default=60, help="begin no measurement later (%(default)s)")
    options = parser.parse_args(argv)
    try:
        report: dict[str, Any] = {"gpu": gpu_name()}
    except UnavailableError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(report["gpu"], flush=True)
    report |= check("cuda")
    for name in (part.__name__ for part in CHECKS):
        print(f"{name}: {json.dumps(report[name])}", flush=True)
    report["operations"] = operation_times("cuda")
    print(f"ConvNeXt-T, 8 pictures, milliseconds: {json.dumps(report['operations'])}", flush=True)
    report["times"] = []
    for entry in measure("cuda", options.seconds):
        report["times"].append(entry)
        print(json.dumps(entry), flush=True)
    if options.json is not None:
        options.json.write_text(json.dumps(report, indent=1), encoding="utf-8")
    return 1 if any(report[part.__name__]["wrong"] for part in CHECKS) else 0


if __name__ == "__main__":
    sys.exit(main())
