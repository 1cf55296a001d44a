"""Make the golden cases that npconv ships for those who port its models.

    python -m weights_tools.make_cases npconv/golden/cases
    python -m weights_tools.make_cases --check npconv/golden/cases

The first command writes one safetensors file for each operation, layer, block and model of
``weights_tools.goldens.operations`` and ``tests/golden_cases``, one for the gradients of each that
``weights_tools.goldens.backward`` has, and a golden trace of a small model of each family; the second makes them again
and compares. They need nothing beyond npconv.

The tensors of a file
    ``CASE.input.0`` and so on, ``CASE.param.NAME``: float16, or uint8 for pictures. ``CASE.expected``: the right result
    in float64. The metadata ``npconv.golden.cases`` is a JSON object: attributes, tolerance, noise and purpose of each
    case.

Truth, noise and tolerance
    Truth is the operation of npconv in float64, whose own rounding is 2**29 times smaller than that of float32. Noise
    is the largest error of right float32 arithmetic: of one run as it is, and of `PERTURBED_RUNS` runs with every input
    and every weight off by up to a unit in the last place. What tolerance follows is said in
    ``npconv.golden.measures``.

What the check allows
    Inputs, attributes and texts must be the same. The last bits of float64, and what float32 noise is measured, depend
    on the processor: results may differ by `SAME` of their largest number, and tolerances by a factor of `FACTOR`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import npconv
from npconv.errors import SafetensorsError
from npconv.files.safetensors import load_file, read_metadata, save_file
from npconv.golden.blocks import case_plan
from npconv.golden.case import METADATA, compute
from npconv.golden.formats import METADATA as TRACE
from npconv.golden.measures import FLOOR, MULTIPLE, distance, last_place
from npconv.golden.roundings import perturbed
from npconv.golden.truth import record
from npconv.models import FAMILIES
from weights_tools.commands import folder_parser, make_again
from weights_tools.goldens import draw
from weights_tools.goldens.backward import gradients
from weights_tools.goldens.cases import OperationCase, family_file
from weights_tools.goldens.operations import TABLE

FORMAT, SEED = 1, 4

PERTURBED_RUNS = 8

SAME, FACTOR = 1e-12, 4.0


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of this command."""
    return folder_parser("make_cases", __doc__)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return the exit status: 0 done, 1 files differ."""
    options = make_parser().parse_args(arguments)
    if not options.check:
        make(options.folder)
        return 0
    different, count = make_again(options.folder, make, difference)
    print(f"{count - different} of {count} files are the same")
    return 1 if different else 0


def make(folder: Path) -> None:
    """Write all files; those of operations that are no more are removed."""
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[str, list[OperationCase]] = {}
    for case in cases():
        files.setdefault(case.operation, []).append(case)
    for operation, several in files.items():
        tensors: dict[str, np.ndarray] = {}
        entries = {case.name: add_case(case, tensors) for case in several}
        content = {"format": FORMAT, "operation": operation, "cases": entries}
        save_file(tensors, folder / f"{operation}.safetensors", {METADATA: json.dumps(content)})
    traced = {f"models-{family}": family for family in FAMILIES if hasattr(family_file(family), "TRACED")}
    for name, family in traced.items():
        trace_of(family).save(folder / f"{name}.safetensors")
    for path in folder.glob("*.safetensors"):
        if path.stem not in {*files, *traced} and _is_ours(path):
            path.unlink()


def _is_ours(path: Path) -> bool:
    """Tell whether a file holds cases or a trace; any other is somebody else's."""
    try:
        return bool(read_metadata(path).keys() & {METADATA, TRACE})
    except SafetensorsError:
        return False


def cases() -> Iterator[OperationCase]:
    """Yield the cases of all operations, layers, blocks and classifiers, and those of their gradients."""
    forward = [OperationCase(operation, *row) for operation, rows in TABLE.items() for row in rows]
    for family in FAMILIES:
        forward += getattr(family_file(family), "operations", tuple)()
    yield from forward
    yield from gradients(forward)


def add_case(case: OperationCase, tensors: dict[str, np.ndarray]) -> dict[str, Any]:
    """Compute a case and put its arrays into `tensors`; return its entry in the metadata."""
    inputs, params = case.draw(draw.generator(SEED, f"{case.operation}.{case.name}"))
    tensors |= {f"{case.name}.input.{i}": array for i, array in enumerate(inputs)}
    tensors |= {f"{case.name}.param.{name}": array for name, array in params.items()}
    expected, noise = truth_and_noise(
        case, [widened(array) for array in inputs], {name: widened(array) for name, array in params.items()}
    )
    tensors[f"{case.name}.expected"] = expected
    largest = float(np.abs(expected).max())
    tolerance = max(MULTIPLE * noise, FLOOR * last_place(largest))
    return {"attributes": case.attributes, "tolerance": tolerance, "noise": noise, "why": case.why}


def truth_and_noise(
    case: OperationCase, inputs: Sequence[np.ndarray], params: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, float]:
    """Return the float64 result, and how far right float32 arithmetic is from it."""
    ndim = 3 if inputs[0].dtype.kind == "u" else inputs[0].ndim
    plan = case_plan(case.operation, len(inputs), params, case.attributes, ndim)
    expected = compute(plan, inputs, params, "float64").astype(np.float64)
    noise = distance(expected, compute(plan, inputs, params, "float32"))
    for seed in range(1, PERTURBED_RUNS + 1):
        # Other numbers than those of the parameters: generators of a list and of its first number differ.
        off = perturbed({f"input.{i}": array for i, array in enumerate(inputs)}, [seed, 1])
        noise = max(noise, distance(expected, compute(plan, list(off.values()), perturbed(params, seed), "float32")))
    return expected, noise


def trace_of(model_type: str) -> Any:
    """Return the golden trace of a family's small model."""
    family = FAMILIES[model_type]
    model_class = getattr(npconv, family.class_names[family.main_task])
    rng = draw.generator(SEED, f"models.{model_type}")
    config = family.config_class(**family_file(model_type).TRACED)
    weights = draw.weights(rng, draw.tensor_shapes(model_class(config).state_dict()))
    params = {name: widened(array) for name, array in weights.items()}
    return record(model_class(config, params), widened(draw.pixel_values(rng, (2, 3, 37, 46))))


def difference(kept: Path, fresh: Path) -> str:
    """Say how two files differ; empty where they are the same as far as they must be."""
    old, new = load_file(kept), load_file(fresh)
    forms = [{name: (array.shape, array.dtype) for name, array in tensors.items()} for tensors in (old, new)]
    if forms[0] != forms[1]:
        return "has other tensors"
    for name, array in new.items():
        largest = float(np.abs(array).max(initial=0)) if array.dtype == np.float64 else 0.0
        if not distance(old[name], array) <= SAME * largest:
            return f"{name} differs"
    before, after = read_metadata(kept), read_metadata(fresh)
    if METADATA not in after:
        return ""  # a trace: its metadata hold versions and measured noise
    return differing_entries(json.loads(before.get(METADATA, "{}")), json.loads(after[METADATA]))


def differing_entries(before: Any, after: Any) -> str:
    """Say how the metadata of two files of cases differ."""
    old, new = before.pop("cases", {}), after.pop("cases")
    measured = ("tolerance", "noise")
    if before != after or list(old) != list(new):
        return "has other cases"
    for name, entry in new.items():
        if any(old[name][key] != entry[key] for key in entry if key not in measured):
            return f"{name} is described otherwise"
        if not 1 / FACTOR <= old[name]["tolerance"] / entry["tolerance"] <= FACTOR:
            return f"{name}: tolerance {old[name]['tolerance']:.2g}, now {entry['tolerance']:.2g}"
    return ""


def widened(array: np.ndarray) -> np.ndarray:
    """Return float16 numbers as float32, others as they are."""
    return array.astype(np.float32) if array.dtype == np.float16 else array


if __name__ == "__main__":
    sys.exit(main())
