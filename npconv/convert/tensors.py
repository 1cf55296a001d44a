"""A tensor on its way from one file to another, and what it turned out to hold."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from npconv.errors import InputError, WeightsError
from npconv.files.dtypes import DeferredArray, dtype_of, held_dtype
from npconv.messages import listed, quoted
from npconv.models.decisions import WARNING, Decision

#: What ``--dtype`` takes -> the name in a safetensors file.
FLOATS = {"float64": "F64", "float32": "F32", "bfloat16": "BF16", "float16": "F16"}

#: Formats of 8-bit floats -> the one that every loader knows and that holds each of their numbers.
FLOAT8_AS = {"F8_E4M3": "F32", "F8_E5M2": "F32"}

#: From here on a number is rounded to infinity: half a step above the largest of the dtype.
_LIMITS = {"F16": 65520.0, "BF16": 255.5 * 2.0**120, "F32": (2.0**25 - 1) * 2.0**103}

#: The smallest number above zero; half of it and less becomes zero.
_LEAST = {"F16": 2.0**-24, "BF16": 2.0**-133, "F32": 2.0**-149}


def deferred(tensors: Mapping[str, Any]) -> dict[str, DeferredArray]:
    """Return the tensors of a file, to be renamed and laid out anew now and read only when they are written.

    Raises
    ------
    WeightsError
        If one is of a dtype that no model has, such as complex numbers.
    """
    try:
        return {name: _deferred(tensor, name) for name, tensor in tensors.items()}
    except InputError as error:
        raise WeightsError(str(error)) from None


def _deferred(tensor: Any, name: str) -> DeferredArray:
    if isinstance(tensor, DeferredArray):
        return tensor
    return DeferredArray(tensor, dtype_of(tensor, f"tensor {quoted(name)}"))


@dataclass
class Findings:
    """What was seen in the numbers as they were written.

    `not_finite` maps names to the count of NaN and infinities, `vanished` to that of numbers that became zero.
    """

    not_finite: dict[str, int] = field(default_factory=dict)
    vanished: dict[str, int] = field(default_factory=dict)

    def warnings(self, dtype: str | None) -> list[Decision]:
        """Return what the user has to know about the numbers."""
        found = []
        if self.not_finite:
            places = listed([f"{count} in {name}" for name, count in self.not_finite.items()])
            found.append(f"the weights hold NaN or infinity: {places}; they are kept as they are")
        if self.vanished:
            total = sum(self.vanished.values())
            found.append(f"{total} numbers too small for {dtype} became 0, most in {_most(self.vanished)}")
        return [Decision("", None, "numbers", WARNING, reason) for reason in found]


def _most(counts: Mapping[str, int]) -> str:
    return max(counts, key=lambda name: counts[name])


def _as_written(values: np.ndarray, name: str, before: str, stored: str, findings: Findings) -> np.ndarray:
    """Return numbers in the dtype that they are written in; notes what is not finite, and what that cannot hold.

    Raises
    ------
    WeightsError
        If a finite number becomes infinite in the new dtype.
    """
    if values.dtype.kind == "f" and values.size:
        _look(values, name, before, stored, findings)
    with np.errstate(over="ignore"):
        return values.astype(held_dtype(stored), copy=False)


def _look(values: np.ndarray, name: str, before: str, stored: str, findings: Findings) -> None:
    """Look at numbers for `_as_written`."""
    least, most = float(values.min()), float(values.max())  # NaN if there is one
    if not math.isfinite(least) or not math.isfinite(most):
        finite = np.isfinite(values)
        findings.not_finite[name] = int(values.size - np.count_nonzero(finite))
        rest = values[finite]
        least, most = (float(rest.min()), float(rest.max())) if rest.size else (0.0, 0.0)
    if stored not in _LIMITS or _holds(stored, values.dtype, before):
        return
    if max(-least, most) >= _LIMITS[stored]:
        dtype = next(dtype for dtype, known in FLOATS.items() if known == stored)
        raise WeightsError(
            f"{quoted(name)} has numbers from {least:.6g} to {most:.6g}, which {dtype} cannot hold: they would "
            "become infinite; choose a wider dtype"
        )
    small = (values != 0) & (np.abs(values) <= _LEAST[stored] / 2)
    if count := int(np.count_nonzero(small)):
        findings.vanished[name] = count


def _holds(stored: str, dtype: np.dtype, before: str) -> bool:
    """Say whether a dtype holds every number of the one before."""
    if stored == before:
        return True
    return dtype.itemsize < held_dtype(stored).itemsize or (stored == "F32" and dtype.itemsize == 4)


def outgoing(
    tensors: Mapping[str, Any], dtype: str | None, findings: Findings, instead: Mapping[str, str] | None = None
) -> dict[str, DeferredArray]:
    """Return tensors as they are to be written: converted to a dtype, and looked at on the way.

    Parameters
    ----------
    tensors : mapping of str to DeferredArray or ndarray
        An array among them is one that the file did not hold: it gets the dtype of most of the others.
    dtype : str, optional
        One of `FLOATS`; as they are stored when unset. Integers stay what they are.
    findings : Findings
        Filled as the tensors are written.
    instead : mapping of str to str, optional
        Dtypes to replace where `dtype` is unset, such as `FLOAT8_AS`.

    Raises
    ------
    InputError
        If there is no such dtype.
    WeightsError
        If a parameter is not floating-point.
    """
    if dtype is not None and dtype not in FLOATS:
        raise InputError(f"expected dtype to be one of {', '.join(FLOATS)}, got {quoted(dtype)}")
    usual = usual_dtype(tensors)
    made = {}
    for name, tensor in tensors.items():
        own = tensor.stored if isinstance(tensor, DeferredArray) else usual
        if np.dtype(tensor.dtype).kind == "f":
            stored = FLOATS[dtype] if dtype else (instead or {}).get(own, own)
        elif name.endswith("num_batches_tracked"):
            stored = dtype_of(np.empty(0, tensor.dtype), name)
        else:
            raise WeightsError(f"tensor {quoted(name)} is stored as {own}, expected floating-point numbers")
        before = getattr(tensor, "stored", "")
        written = partial(_as_written, name=name, before=before, stored=stored, findings=findings)
        made[name] = _deferred(tensor, name).map(written, shape=tensor.shape, stored=stored)
    return made


def usual_dtype(tensors: Mapping[str, Any]) -> str:
    """Return the floating-point dtype of most numbers, in the names of safetensors."""
    sizes: dict[str, int] = {}
    for tensor in tensors.values():
        if isinstance(tensor, DeferredArray) and np.dtype(tensor.dtype).kind == "f":
            sizes[tensor.stored] = sizes.get(tensor.stored, 0) + tensor.size
    return max(sizes, key=lambda name: sizes[name], default="F32")
