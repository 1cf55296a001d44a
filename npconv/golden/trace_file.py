"""A trace: named arrays in the order in which they were computed, the weights they came of, and what is known of both.

``load_trace`` reads traces of any program; see :mod:`npconv.golden.formats` for the four forms of a file, and
``npconv/golden/recorders/`` for how to write one elsewhere.
"""

from __future__ import annotations

import math
import os
from collections import UserDict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from npconv.backend import to_host
from npconv.errors import GoldenError, InputError, NpconvError, TraceNotFoundError, WeightsError
from npconv.files import safetensors
from npconv.files.disk import parse_json
from npconv.files.dtypes import WIDENED
from npconv.golden.formats import METADATA, OTHER_FORMS, Content, to_text
from npconv.messages import quoted
from npconv.plan.step import Plan

#: Version of the form of traces.
FORMAT = 1

#: The name of a model's input.
PIXELS = "pixel_values"

#: What stands before the names of weights in a file.
PARAMETERS = "parameters."

#: What is in a plan, and in what a trace says of itself, as :func:`fits` takes it; none of the latter has to be there.
_STEP = {
    **dict.fromkeys(("name", "operation", "layout"), str),
    "inputs": [str],
    "aliases": [str],
    "params": {str: str},
    "attributes": dict,
}
_PLAN = {"steps": [_STEP], "outputs": [str], "hidden_states": [str]}
_ABOUT = {
    "order": ([str], "a list of different names"),
    **dict.fromkeys(("layouts", "aliases"), ({str: str}, "texts by name")),
    "noise": ({str: {str: (int, float)}}, "positive numbers by name and kind of run"),
    "steps": (_PLAN, "the steps of a plan"),
    **dict.fromkeys(("config", "preprocessing", "versions"), (dict, "a JSON object")),
    **dict.fromkeys(("task", "family", "dtype", "checkpoint", "input", "photo", "model"), (str, "text")),
}


class Tensors(UserDict[str, Any]):
    """Arrays by name; one that has to be decoded (BF16) is decoded when it is asked for, each time anew."""

    def __getitem__(self, name: str) -> np.ndarray:
        return np.asarray(self.data[name])


class Trace(Mapping[str, np.ndarray]):
    """Arrays by name, in execution order.

    Parameters
    ----------
    about : mapping, optional
        What is known of the trace, JSON values; see the table in ``npconv/golden/README.md``. All of it is optional.
    params : mapping of str to ndarray, optional
        The model's weights by their names in a checkpoint.

    Attributes
    ----------
    about : dict
    params : mapping of str to ndarray
    stored : dict of str to str
        Of a file: the tensors whose dtype NumPy lacks, and that dtype (``"BF16"``); they are float32 or float16 here,
        the same numbers, and are written as they were. Weights stand under ``"parameters.NAME"``.
    """

    about: dict[str, Any]
    params: Tensors
    stored: dict[str, str]

    def __init__(self, about: Mapping[str, Any] | None = None, params: Mapping[str, np.ndarray] | None = None) -> None:
        self.about = dict(about or {})
        self.params = Tensors(params or {})
        self.stored = {}
        self._tensors = Tensors()

    def add(self, name: str, array: Any) -> None:
        """Append a tensor; the array is kept, not copied, and cannot be written to through the trace.

        Raises
        ------
        GoldenError
            If there is a tensor of that name, or the name is that of a weight, ``parameters.`` and more.
        """
        if not isinstance(name, str) or name.startswith(PARAMETERS):
            raise GoldenError(f"expected a name that does not begin with {PARAMETERS!r}, got {quoted(name)}")
        if name in self._tensors:
            raise GoldenError(f"the trace has a tensor {quoted(name)} already; one trace holds one run of a model")
        view = np.asarray(to_host(array)).view()
        view.flags.writeable = False
        self._tensors[name] = view

    @property
    def plan(self) -> Plan | None:
        """The steps that made the trace, if it says so."""
        steps = self.about.get("steps")
        return None if steps is None else Plan.from_json(steps)

    def count_numbers(self) -> int:
        """Return how many numbers the tensors and the weights are; nothing is decoded for it."""
        held = [*self._tensors.data.values(), *self.params.data.values()]
        return sum(math.prod(array.shape) for array in held)

    def save(self, path: str | os.PathLike[str], format: str | None = None) -> None:
        """Write the trace to a file or folder; the same trace gives the same bytes.

        Parameters
        ----------
        path : str or path
        format : str, optional
            ``".safetensors"``, ``".npz"``, ``".json"``, or ``""`` for a folder; by default the suffix of `path`.

        Raises
        ------
        GoldenError
            If it cannot be written there or in that form.
        """
        path = Path(path)
        suffix = form_of(path, "write to", format)
        tensors = {**self._tensors.data, **{PARAMETERS + name: self.params.data[name] for name in sorted(self.params)}}
        about = {**self.about, "format": FORMAT, "order": list(self)}
        _check_names(tensors)
        stored = {name: dtype for name, dtype in self.stored.items() if name in tensors}
        try:
            FORMS[suffix][1](path, Content(tensors, about, stored))
        except (InputError, WeightsError) as error:
            raise GoldenError(str(error)) from error

    def __getitem__(self, name: str) -> np.ndarray:
        return self._tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def __contains__(self, name: object) -> bool:
        return name in self._tensors

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        from npconv.golden.notebook import trace_note

        return trace_note(self)

    def __repr__(self) -> str:
        return f"<Trace of {len(self)} tensors and {len(self.params)} weights>"


def check_output(path: str | os.PathLike[str]) -> None:
    """Refuse, before anything is computed, a place that a trace could not be saved to."""
    path = Path(path)
    suffix = form_of(path, "write to")
    if not os.path.isdir(path.parent):
        raise GoldenError(f"there is no folder {quoted(path.parent)} to write to; make it first")
    if os.path.isdir(path) and (suffix or os.listdir(path)):
        raise GoldenError(f"expected a file or a new or empty folder to write to, but {quoted(path)} is a folder")
    if not os.access(path.parent, os.W_OK):
        raise GoldenError(f"cannot write into the folder {quoted(path.parent)}; give one that you may write to")


def is_own(path: str | os.PathLike[str]) -> bool:
    """Tell whether there is a trace that `Trace.save` wrote."""
    try:
        return "format" in load_trace(path).about
    except NpconvError:
        return False


def load_trace(path: str | os.PathLike[str]) -> Trace:
    """Return the trace in a file or folder, of whatever program.

    Parameters
    ----------
    path : str or path
        ``.safetensors``, ``.npz``, a folder of ``.npy`` files, or a ``.json`` index of raw numbers. Files are mapped,
        not read: they must not be changed in place while the trace is in use.

    Returns
    -------
    Trace
        In the order that it says it has; tensors that it does not mention follow in the order of the file.

    Raises
    ------
    GoldenError
        If there is no such file, or it is broken.
    """
    path = Path(path)
    suffix = "" if os.path.isdir(path) else form_of(path, "read a trace from")
    if not os.path.exists(path):
        raise TraceNotFoundError(f"there is no trace {quoted(path)}; check the path")
    try:
        content = FORMS[suffix][0](path)
    except WeightsError as error:
        raise GoldenError(str(error)) from error
    about = {} if content.about is None else check_about(content.about, f"{quoted(path)}: {METADATA}")
    trace = Trace(about)
    names = [name for name in content.tensors if not name.startswith(PARAMETERS)]
    known = set(names)
    for name in dict.fromkeys([*(name for name in about.get("order") or () if name in known), *names]):
        trace._tensors.data[name] = content.tensors[name]
    for name, array in content.tensors.items():
        if name.startswith(PARAMETERS):
            trace.params.data[name.removeprefix(PARAMETERS)] = array
    trace.stored = dict(content.stored)
    return trace


def _check_names(names: Iterable[str]) -> None:
    """Refuse names that UTF-8 cannot hold, as it cannot halves of surrogate pairs."""
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise GoldenError(f"a tensor's name must be text that UTF-8 can hold, got {quoted(name)}") from None


def read_safetensors(path: Path) -> Content:
    """Read a safetensors file; the order is that of the data."""
    tensors, header = safetensors.open_with_header(path)
    names = sorted(header.entries, key=lambda name: header.entries[name][2:])
    text = (header.metadata or {}).get(METADATA)
    about = None if text is None else parse_json(text, f"{quoted(path)}: the metadata {METADATA}")
    stored = {name: entry.dtype for name, entry in header.entries.items() if entry.dtype in WIDENED}
    return Content({name: tensors[name] for name in names}, about, stored)


def write_safetensors(path: Path, content: Content) -> None:
    """Write a safetensors file."""
    arrays = {name: np.asarray(array) for name, array in content.tensors.items()}
    safetensors.save_file(arrays, path, {METADATA: to_text(content.about)}, dtypes=content.stored)


#: Suffix -> how to read and write the form; most comparisons read the first.
FORMS = {".safetensors": (read_safetensors, write_safetensors), **OTHER_FORMS}


def form_of(path: Path, use: str, form: str | None = None) -> str:
    """Return the suffix that tells the form of a trace; refuse others."""
    suffix = path.suffix.lower() if form is None else form
    if suffix not in FORMS:
        expected = "a .safetensors, .npz or .json file or a folder without suffix"
        raise GoldenError(f"expected {expected} to {use}, got {quoted(path)}")
    return suffix


def check_about(about: Any, source: str) -> dict[str, Any]:
    """Return what a trace says of itself if what npconv will use of it has the right types; `source` is for errors."""
    if not isinstance(about, dict):
        raise GoldenError(f"{source} holds a {_kind(about)}, expected a JSON object")
    if about.get("format", FORMAT) != FORMAT:
        raise GoldenError(f"{source} is of format {quoted(about['format'])}, expected {FORMAT}; update npconv")
    for name, (form, expected) in _ABOUT.items():
        value = about.get(name)
        if value is not None and not (fits(value, form) and (name != "order" or len(set(value)) == len(value))):
            raise GoldenError(f"{source}: expected {expected} as {name!r}, got another {_kind(value)}")
    return about


def _kind(value: Any) -> str:
    """Return what JSON calls a value."""
    kinds = {dict: "object", list: "list", str: "text", bool: "truth value", type(None): "null"}
    return kinds.get(type(value), "number")


def fits(value: Any, form: Any) -> bool:
    """Tell whether a JSON value is of a form.

    ``[str]`` is a list of texts, ``{str: str}`` texts by name, ``{"name": str}`` an object with just this;
    ``(int, float)`` a number of at least 0.
    """
    if form == (int, float):
        return type(value) in form and value >= 0
    if isinstance(form, type):
        return isinstance(value, form)
    if not isinstance(value, type(form)):
        return False
    if isinstance(form, list):
        return all(fits(one, form[0]) for one in value)
    if str in form:
        return all(fits(one, form[str]) for one in value.values())
    return value.keys() == form.keys() and all(fits(value[name], form[name]) for name in form)


def about(trace: Mapping[str, np.ndarray]) -> Mapping[str, Any]:
    """Return what a trace says of itself; of a plain mapping, nothing."""
    return getattr(trace, "about", None) or {}


def weights_of(trace: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    """Return the weights in a trace; none of a plain mapping."""
    params: Mapping[str, np.ndarray] = getattr(trace, "params", None) or {}
    return params


def layout_of(trace: Mapping[str, np.ndarray], name: str, axes: int) -> str:
    """Return a letter for each axis of a tensor, or nothing if they are not known."""
    letters = str(part(trace, "layouts").get(name, ""))
    return letters if len(letters) == axes else ""


def shape_of(trace: Mapping[str, Any], name: str) -> tuple[int, ...]:
    """Return the shape of a tensor; nothing is decoded for it."""
    return tuple(np.shape(trace[name]) if not isinstance(trace, Trace) else trace._tensors.data[name].shape)


def part(trace: Mapping[str, np.ndarray], name: str) -> Mapping[str, Any]:
    """Return an object in what a trace says of itself; empty if it is not there."""
    value = about(trace).get(name)
    return value if isinstance(value, Mapping) else {}
