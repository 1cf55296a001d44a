"""Who is told of each forward pass: nobody, unless :func:`npconv.golden.trace` is at work."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

#: Called as ``observer(model, pixel_values, output, training)`` after each forward pass of this thread or task. The
#: pixel values are in the model's dtype on its device; the output has all its fields, hidden states included.
OBSERVER: ContextVar[Callable[[Any, Any, Any, bool], None] | None] = ContextVar("npconv_observer", default=None)


def tell_observer(model: Any, pixel_values: Any, output: Any, training: bool) -> None:
    """Tell the observer, if there is one, of a forward pass."""
    observer = OBSERVER.get()
    if observer is not None:
        observer(model, pixel_values, output, training)
