"""What loads something in other processes, as a value that can be sent to them; each of them loads it once."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from npconv.errors import InputError
from npconv.forks import Lock

_LOADING = Lock()

#: What this process loaded last, and by which loader. Not more than one, because a model is large.
_loaded: tuple[Loader | None, Any] = (None, None)


@dataclass(frozen=True)
class Loader:
    """A function and its arguments, pickled; called once in each process. Loaders of equal arguments are equal."""

    content: bytes

    @classmethod
    def of(cls, function: Callable[..., Any], **arguments: Any) -> Loader:
        """Return the loader that calls ``function(**arguments)``; what cannot be sent to others is an `InputError`."""
        try:
            return cls(pickle.dumps((function, arguments)))
        except Exception as error:  # whatever an object raises that is not made for pickling
            raise InputError(
                f"expected arguments that can be sent to another process, got others ({error}); use workers=1"
            ) from error

    def __call__(self) -> Any:
        """Return what the function returns; it is called when this process has not called it last."""
        global _loaded
        with _LOADING.held():
            if _loaded[0] != self:
                _loaded = (None, None)  # let go of the last one before the next one needs its memory
                function, arguments = pickle.loads(self.content)
                _loaded = (self, function(**arguments))
            return _loaded[1]
