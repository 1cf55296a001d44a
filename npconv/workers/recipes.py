"""How to load something, as a value that can be sent to other processes; each of them loads it once."""

from __future__ import annotations

import os
import pickle
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from npconv.errors import InputError
from npconv.files.locate import embedded_models

_LOADING = threading.Lock()

#: What this process loaded last, and by which recipe. Not more than one, because a model is large.
_loaded: tuple[Recipe | None, Any] = (None, None)


@dataclass(frozen=True)
class Recipe:
    """A function and the arguments with which it loads something, pickled.

    Recipes of equal arguments are equal.
    """

    content: bytes

    @classmethod
    def of(cls, function: Callable[..., Any], **arguments: Any) -> Recipe:
        """Return the recipe of ``function(**arguments)``.

        Raises
        ------
        InputError
            If it cannot be sent to another process.
        """
        try:
            return cls(pickle.dumps((function, arguments)))
        except Exception as error:  # whatever an object raises that is not made for pickling
            raise InputError(
                f"expected arguments that can be sent to another process, got others ({error}); use workers=1"
            ) from error

    def load(self) -> Any:
        """Return what the function returns; it is called when this process has not called it last."""
        global _loaded
        with _LOADING:
            if _loaded[0] != self:
                _loaded = (None, None)  # let go of the last one before the next one needs its memory
                function, arguments = pickle.loads(self.content)
                _loaded = (self, function(**arguments))
            return _loaded[1]


def findable(model: str | Path) -> str:
    """Return the name of a model such that a process in another folder finds the same one."""
    name = str(model)
    is_path = os.path.exists(name) and not (isinstance(model, str) and model in embedded_models())
    return os.path.abspath(name) if is_path else name
