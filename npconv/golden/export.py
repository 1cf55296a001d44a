"""Golden cases as plain files, for programs in other languages."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from npconv.errors import GoldenError
from npconv.files.locks import why_not_written
from npconv.golden.case import Case, model_file
from npconv.golden.formats import new_folder
from npconv.golden.trace_file import FORMAT
from npconv.messages import quoted

INDEX, CASE = "index.json", "case.json"

#: Ending and content of each form of file: raw little-endian float32, or NumPy's own format in the case's dtypes.
FORMATS = {"raw": ".f32", "npy": ".npy"}


def export(
    folder: str | os.PathLike[str],
    cases: Iterable[Case],
    format: str = "raw",
    models: Iterable[str] = (),
    *,
    force: bool = False,
) -> int:
    """Write cases as one file for each array, and an index that says what they are; copy the traces of models.

    Parameters
    ----------
    folder : str or path
        New or empty. A case goes to ``OPERATION/CASE``, the index to ``index.json``.
    cases : iterable of Case
    format : {"raw", "npy"}
        Raw little-endian float32, pictures as well; or ``.npy``, pictures as uint8 and expected results as float64.
    models : iterable of str
        Families whose `npconv.golden.model_trace` to copy, a safetensors file each.
    force : bool
        Whether the folder may hold something; files of the same names are then replaced, and no others.

    Returns
    -------
    int
        How many cases were written.

    Raises
    ------
    GoldenError
        If the format or a family is unknown, the folder holds something, or the files cannot be written.
    """
    if format not in FORMATS:
        raise GoldenError(f"expected format to be one of {', '.join(FORMATS)}; got {quoted(format)}")
    traces = [model_file(family) for family in models]
    entries = []
    with _written(folder), new_folder(Path(folder), INDEX, force=force) as staging:
        for case in cases:
            place = f"{case.operation}/{case.name}"
            write_case(staging / place, case, format, expected=True)
            entries.append(describe_case(case, format, expected=True, place=f"{place}/"))
        for path in traces:
            shutil.copyfile(path, staging / path.name)
        index = {"format": FORMAT, "cases": entries, "models": [path.name for path in traces]}
        _write_json(staging / INDEX, index)
    return len(entries)


@contextmanager
def _written(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Make an error of the disk the project's own."""
    try:
        yield
    except OSError as error:
        raise GoldenError(f"{quoted(folder)} cannot be written: {why_not_written(error)}") from error


def write_case(folder: Path, case: Case, format: str = "raw", *, expected: bool) -> None:
    """Write one case into a folder of its own, with the right result if `expected`, and ``case.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    named = {f"input.{i}": array for i, array in enumerate(case.inputs)}
    named |= {f"param.{name}": array for name, array in case.params.items()}
    for name, array in {**named, **({"expected": case.expected} if expected else {})}.items():
        path = folder / f"{name}{FORMATS[format]}"
        if format == "raw":
            path.write_bytes(array.astype("<f4").tobytes())
        else:
            np.save(path, array)
    _write_json(folder / CASE, describe_case(case, format, expected=expected))


def describe_case(case: Case, format: str, *, expected: bool, place: str = "") -> dict[str, Any]:
    """Return what ``case.json`` says of a case, with the files as seen from where its folder is at `place`."""

    def file(name: str, array: np.ndarray) -> dict[str, Any]:
        return {"file": f"{place}{name}{FORMATS[format]}", "shape": list(array.shape)}

    output = {"shape": list(case.expected.shape), "tolerance": case.tolerance}
    return {
        "operation": case.operation,
        "case": case.name,
        "why": case.why,
        "attributes": case.attributes,
        "inputs": [file(f"input.{i}", array) for i, array in enumerate(case.inputs)],
        "params": {name: file(f"param.{name}", array) for name, array in case.params.items()},
        "output": output | (file("expected", case.expected) if expected else {}),
    }


def _write_json(path: Path, content: Any) -> None:
    """Write a JSON file."""
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
