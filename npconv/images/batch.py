"""What an image processor returns: the arrays of several pictures, as one where their shapes allow it."""

from __future__ import annotations

from typing import Any

import numpy as np

from npconv.errors import InputError


class BatchFeature(dict[str, Any]):
    """What a processor returns: a dictionary whose keys are attributes too.

    ``model(**inputs)``, ``inputs["pixel_values"]`` and ``inputs.pixel_values`` all work.
    """

    def __getattr__(self, name: str) -> Any:
        """Return the value of a key."""
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"expected one of {list(self)}, got {name!r}") from None


def stack(arrays: list[np.ndarray], *, must_stack: bool) -> np.ndarray | list[np.ndarray]:
    """Return arrays of one shape as one array, others as the list they are."""
    if not arrays:
        raise InputError("expected at least one picture, got none")
    shapes = sorted({array.shape for array in arrays})
    if len(shapes) == 1:
        return np.stack(arrays)
    if must_stack:
        raise InputError(
            f"expected pictures of one shape for return_tensors='np', got {shapes[0]} and {shapes[-1]}; "
            "set do_resize=True, or leave return_tensors unset for a list"
        )
    return arrays
