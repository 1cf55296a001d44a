"""Checkers of lesson 00."""

from __future__ import annotations

from typing import Any

import numpy as np

from exercises import exercise
from npconv.files.safetensors import load_file, save
from showing import sample


@exercise("Multiply the numbers of each shape, and add up all arrays of the header.")
def check_1(answer: Any) -> bool:
    """Check the number of parameters of the embedded network."""
    path = sample("ship.png").parents[1] / "convnextv2-cifar10" / "model.safetensors"
    return float(answer) == sum(tensor.size for tensor in load_file(path).values())


@exercise("Offsets count from the end of the header, which is 8 bytes plus its length; F32 is '<f4'.")
def check_2(answer: Any) -> bool:
    """Check a reader of single arrays: a function of (data, name)."""
    rng = np.random.default_rng(1)
    tensors: dict[str, Any] = {
        "half": rng.normal(size=(2, 3, 4)).astype(np.float16),
        "single": rng.normal(size=(5, 2)).astype(np.float32),
        "scalar": np.array(7, np.float32),
    }
    data = save(tensors, {"note": "no array"})
    for name, tensor in tensors.items():
        got = np.asarray(answer(data, name))
        if got.dtype != tensor.dtype or not np.array_equal(got, tensor):
            return False
    return True


@exercise(
    "What would a float32 have in the places that BF16 leaves out? Move whole bits, not numbers.",
    "Read '<u2', widen to uint32, move the bits 16 places to the left, and view the result as float32.",
)
def check_3(answer: Any) -> bool:
    """Check the decoding of BF16: a function of bytes."""
    bits = np.random.default_rng(1).normal(size=50).astype("<f4").view("<u4") & 0xFFFF0000
    got = np.asarray(answer((bits >> 16).astype("<u2").tobytes()))
    return got.dtype == np.float32 and np.array_equal(got, bits.view("<f4"))
