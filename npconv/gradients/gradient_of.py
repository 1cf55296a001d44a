"""What every backward function is wrapped in: its arrays are checked and widened like those of its layer.

::

    @gradient_of(layers.layer_norm, "x", "weight", "bias")
    def layer_norm_backward(grad_y, x, weight, *, eps, axis): ...

The names are those of the layer's arguments that the function returns the gradients of, in this order; it is the
function's attribute ``gives``. The other way round, its arguments say what it takes beside the upstream gradient:
the layer's arguments by their names, ``y`` for the layer's result, and ``x_shape`` where the shape of `x` is enough.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from npconv.backend import is_array, widen
from npconv.layers.letters import bind
from npconv.layers.shapes import RAW, Fit, refuse_raw

Function = TypeVar("Function", bound=Callable[..., Any])

#: What an upstream gradient is called among the arguments.
UPSTREAM = "grad_y"

#: How an argument is called that is the shape of another.
SHAPE = "_shape"


def gradient_of(layer: Callable[..., Any], *gives: str) -> Callable[[Function], Function]:
    """Say of which arguments of a layer a function returns the gradients, and let it run on what fits the layer only.

    float16 is computed in float32. The gradient of an array that is given has its dtype, others that of the upstream
    gradient. Arrays that do not fit are an `InputError`.
    """

    def decorate(function: Function) -> Function:
        fit = Fit(function, _letters(layer, function))

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            given = dict(zip(fit.names, args, strict=False), **kwargs)
            if len(given) < len(args) + len(kwargs) or UPSTREAM not in given:
                return function(*args, **kwargs)  # Python says what is wrong
            try:
                dtypes = {name: value.dtype for name, value in given.items() if is_array(value)}
                fit(given)
                _check_together(function.__name__, fit.letters, given)
                found = function(**{name: _wide(value) for name, value in given.items()})
            except RAW as error:
                refuse_raw(function.__name__, error)
            gradients = found if len(gives) > 1 else (found,)
            cast = tuple(
                gradient.astype(dtypes.get(name, dtypes[UPSTREAM]), copy=False)
                for name, gradient in zip(gives, gradients, strict=True)
            )
            return cast if len(gives) > 1 else cast[0]

        vars(call)["gives"] = gives
        return call  # type: ignore[return-value]

    return decorate


def _letters(layer: Callable[..., Any], function: Callable[..., Any]) -> dict[str, str]:
    """Return the shapes of what a backward function takes, in the letters of its layer; the upstream gradient last."""
    said = dict(getattr(layer, "shapes", {"result": "..."}))
    result = said.pop("result")
    taken = inspect.signature(function).parameters
    letters = {name: text for name, text in said.items() if {name, f"{name}{SHAPE}"} & set(taken)}
    return letters | {name: result for name in ("y", UPSTREAM) if name in taken}


def _check_together(function: str, letters: Mapping[str, str], given: Mapping[str, Any]) -> None:
    """Refuse arrays in which a letter has two lengths: stretched to fit each other, they give a wrong gradient."""
    lengths = {name: value for name, value in given.items() if isinstance(value, int)}
    for name, text in letters.items():
        if name in given:
            bind(function, name, text, given[name].shape, lengths)
        elif f"{name}{SHAPE}" in given:
            bind(function, name, text, tuple(given[f"{name}{SHAPE}"]), lengths)


def _wide(value: Any) -> Any:
    """Return an array of floating-point numbers at least in float32, anything else as it is."""
    return widen(value) if is_array(value) and value.dtype.kind == "f" else value
