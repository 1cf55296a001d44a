"""The shapes of a layer's arrays: said once, above the layer, by what checks them.

::

    @shapes(x="N C H W", weight="O C/groups kh kw", bias="O", groups="divides O", result="N O H' W'")
    def conv2d(x, weight, bias=None, *, stride=1, padding=0, groups=1): ...

There is a letter for each axis, and the same letter is the same length in all arrays.

- ``1`` is the length 1; ``O C | O C 1 1`` is either of two shapes.
- ``...`` is any number of axes: in ``... D`` all but the last, in ``... C ...`` all but the one that `axis` names.
- ``C/groups`` is C divided by the argument `groups`; a number that ``divides O`` must divide it.

A layer runs on what fits, and on nothing but floating-point arrays of NumPy or CuPy, float16 widened to float32. So its
body is the mathematics. The result returns to the dtype of the first array.

In a debugger a layer is one frame away: step into its call, go to the line ``y = run(...)`` of `call`, step in again.
"""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn, ParamSpec

import numpy as np

from npconv.backend import Array, array_module, widen
from npconv.errors import InputError, ShapeError

P = ParamSpec("P")

#: A letter, the axis that it stands for (None: the one that the argument `axis` names), and the number that divides it.
Axis = tuple[str, int | None, str]

DIVIDES = "divides "

#: What Python and NumPy raise at arguments that make no sense.
RAW = (TypeError, ValueError, AttributeError, LookupError, ZeroDivisionError, OverflowError)


def shapes(*, result: str, **arguments: str) -> Callable[[Callable[P, Array]], Callable[P, Array]]:
    """Let a layer run only on arrays of the shapes that are given in letters; see the top of this module.

    The letters of each array come in the layer's order, then what its numbers divide; those of the `result` are for
    readers and tests, and no call checks them. What was said is the attribute `shapes` of the layer.
    """

    def decorate(function: Callable[P, Array]) -> Callable[P, Array]:
        fit = Fit(function, arguments)
        run: Callable[..., Array] = function

        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> Array:
            given = dict(zip(fit.names, args, strict=False), **kwargs)
            if len(given) < len(args) + len(kwargs):
                return run(*args, **kwargs)  # too many, or one twice: Python says which
            try:
                dtype = fit(given)
                y = run(**given)
            except RAW as error:
                refuse_raw(function.__name__, error)
            return y if y.dtype is dtype else y.astype(dtype, copy=False)

        vars(call)["shapes"] = {**arguments, "result": result}
        return call

    return decorate


def guarded(*, result: str, **arguments: str) -> Callable[[Callable[P, Array]], Callable[P, Array]]:
    """Say the shapes of a layer's arrays as :func:`shapes` does, but check none before it runs.

    It raises an `InputError` too, where its arguments make no sense.
    """

    def decorate(function: Callable[P, Array]) -> Callable[P, Array]:
        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> Array:
            try:
                return function(*args, **kwargs)
            except RAW as error:
                refuse_raw(function.__name__, error)

        vars(call)["shapes"] = {**arguments, "result": result}
        return call

    return decorate


def refuse_raw(layer: str, error: Exception) -> NoReturn:
    """Raise an error that came of arguments as one of the layer; what is missing in the call, Python says."""
    behind = error.__traceback__.tb_next if error.__traceback__ else None
    if isinstance(error, InputError) or behind is None:
        raise error
    reason = str(error).partition("\n")[0]
    raise InputError(f"{layer}: expected arguments that fit each other, but NumPy says: {reason}") from error


class Fit:
    """What the arguments of one layer must be like: called with those of a call, by name."""

    def __init__(self, function: Callable[..., Any], arguments: Mapping[str, str]) -> None:
        parameters = inspect.signature(function).parameters
        self.layer = function.__name__
        self.names = [name for name, p in parameters.items() if p.kind is not p.KEYWORD_ONLY]
        self.defaults = {name: p.default for name, p in parameters.items() if p.default is not p.empty}
        self.divides = {name: text.removeprefix(DIVIDES) for name, text in arguments.items() if DIVIDES in text}
        self.letters = {name: text for name, text in arguments.items() if DIVIDES not in text}
        self.first = next(iter(self.letters))
        #: For each array, every shape that it may have: how many axes (None is any number), and which.
        self.forms = {name: [_axes(form) for form in text.split("|")] for name, text in self.letters.items()}

    def __call__(self, given: dict[str, Any]) -> Any:
        """Refuse what does not fit, widen float16 in `given`, and return the dtype that the first array had."""
        lengths, first_dtype = {"1": 1}, None
        for name in self.forms:
            array: Any = given.get(name)
            if array is None and (name in self.defaults or name not in given):
                continue  # what is missing, Python says when the layer runs
            if type(array) is not np.ndarray:
                array_module(array)
            misfit = self.misfit(name, given, lengths)
            if misfit:
                self.refuse_array(name, given, *misfit)
            dtype = array.dtype
            if dtype.kind != "f" or dtype.itemsize < 4:
                given[name] = widen(array)
            if first_dtype is None:
                first_dtype = dtype
        for name, letter in self.divides.items():
            if letter in lengths:
                self.divisor(name, given, lengths)
        return first_dtype

    def misfit(self, name: str, given: Mapping[str, Any], lengths: dict[str, int]) -> tuple[str, int] | None:
        """Note the length of each letter of an array. Return one that does not fit, ``""`` for the number of axes."""
        shape = given[name].shape
        found: tuple[str, int] | None = ("", len(shape))
        for ndim, axes in self.forms[name]:
            if ndim is not None and ndim != len(shape):
                continue
            found = None
            for letter, axis, divisor in axes:
                try:
                    length = shape[given["axis"] if axis is None else axis]
                except IndexError:
                    length = -1
                except KeyError:  # what is missing, Python says when the layer runs
                    continue
                if divisor:
                    length *= self.divisor(divisor, given, lengths)
                if lengths.setdefault(letter, length) != length:
                    found = letter, length
                    break
            if found is None or found[0] != "1":
                break  # otherwise another shape may have its 1 elsewhere
        return found

    def divisor(self, name: str, given: Mapping[str, Any], lengths: Mapping[str, int]) -> int:
        """Return a number among the arguments, if it divides what it must divide."""
        number, letter = given.get(name, self.defaults.get(name, 1)), self.divides[name]
        if number < 1 or lengths[letter] % number:
            channels = "output channels" if letter == "O" else "channels"
            self.refuse(f"{name} to divide the {lengths[letter]} {channels}, got {number}")
        return number

    def refuse(self, expected: str) -> NoReturn:
        """Raise the error of a call that does not fit."""
        raise ShapeError(f"{self.layer}: expected {expected}")

    def refuse_array(self, name: str, given: Mapping[str, Any], letter: str, length: int) -> NoReturn:
        """Raise the error of an array whose axis `letter`, or number of axes, is not what the arrays before it ask."""
        shape, text = given[name].shape, self.letters[name]
        if name == self.first:
            got = shape if name == "x" else f"{name} of shape {shape}"
            self.refuse(f"x of shape {_written(text)}, got {got}; add or remove axes with reshape")
        if name != "weight":
            self.refuse_alike(name, given)
        if letter == "":
            numbers = " or ".join(str(number) for number in dict(self.forms[name]))
            self.refuse(f"a weight with {numbers} {'axis' if numbers == '1' else 'axes'}, got shape {shape}")
        if letter == "1":
            self.refuse(f"a weight of shape {_written(text)}, got {shape}{'; use conv2d' * ('conv2d' in self.layer)}")
        axis = next(axis for _, axes in self.forms[self.first] for of, axis, _ in axes if of == letter)
        raise ShapeError(
            f"{self.layer}: the weights expect {length} channels on axis {given['axis'] if axis is None else axis} of "
            f"x, got x of shape {given[self.first].shape}; check the layout (channels first: N, C, H, W) and that the "
            "weights belong to this layer"
        )

    def refuse_alike(self, name: str, given: Mapping[str, Any]) -> NoReturn:
        """Raise the error of an array, and those of the same letters, by the lengths of the arrays before them."""
        text = self.letters[name]
        alike = [other for other in self.letters if self.letters[other] == text and given.get(other) is not None]
        lengths = {"1": 1}
        for other in itertools.takewhile(lambda other: other not in alike, self.letters):
            if given.get(other) is not None:
                self.misfit(other, given, lengths)
        shape = f"{'one ' if len(alike) > 1 else ''}shape {_written(text, lengths)}"
        got = [str(getattr(given[other], "shape", type(given[other]).__name__)) for other in alike]
        self.refuse(f"{_listed(alike)} of {shape}, got {_listed(got)}")


def _axes(text: str) -> tuple[int | None, tuple[Axis, ...]]:
    """Read letters such as ``N C H W``, ``C 1 kh kw``, ``... D`` or ``... C ...``: how many axes, and what they are.

    Axes of length 1 come first and those that are divided last: in this order their misfits are told.
    """
    letters = text.split()
    any_axes = letters.count("...")
    axes: list[Axis] = []
    for place, written in enumerate(letters):
        letter, _, divisor = written.partition("/")
        if letter != "...":
            axes.append((letter, None if any_axes == 2 else place - len(letters) * any_axes, divisor))
    axes.sort(key=lambda axis: (axis[0] != "1", axis[2] != ""))
    return None if any_axes else len(letters), tuple(axes)


def _written(text: str, lengths: Mapping[str, int] | None = None) -> str:
    """Write letters as shapes are written, with those lengths that are known: ``(2, S, 8)``, ``(O, C) or (6,)``."""
    forms = [[str((lengths or {}).get(letter, letter)) for letter in form.split()] for form in text.split("|")]
    return " or ".join(f"({', '.join(form)}{',' * (len(form) == 1)})" for form in forms)


def _listed(words: Sequence[str]) -> str:
    """Write words one after another: ``weight, bias and running_mean``."""
    return " and ".join([", ".join(words[:-1]), *words[-1:]] if len(words) > 1 else words)
