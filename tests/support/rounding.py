"""How far a layer may be from its naive twin: bounds that follow from rounding alone.

A floating-point operation is exact up to a factor ``1 + d`` with ``|d| <= u``, the unit roundoff. After k operations
one on the other the factor is within ``1 + gamma(k)``, ``gamma(k) = k * u / (1 - k * u)``, in whatever order a sum is
taken (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1). So a sum of products is within
``gamma(k) * sum(|products|)`` of the exact one: the twin, run on absolute values, gives that sum. Library functions
(exp, erf, tanh ...) are charged :data:`LIBRARY` units for each value: NumPy promises 4.
"""

from __future__ import annotations

import numpy as np

UNIT_ROUNDOFF = {np.dtype("float16"): 2.0**-11, np.dtype("float32"): 2.0**-24, np.dtype("float64"): 2.0**-53}

#: Operations that a call of a library function counts for.
LIBRARY = 4

FLOATS = ("float16", "float32", "float64")


def accumulator(dtype: np.dtype | str) -> np.dtype:
    """Return the dtype in which the layers compute: at least float32."""
    return np.dtype("float32") if np.dtype(dtype) == np.float16 else np.dtype(dtype)


def gamma(operations: int, dtype: np.dtype | str) -> float:
    """Return the relative error that `operations` roundings in the accumulator of `dtype` can amount to."""
    error = operations * UNIT_ROUNDOFF[accumulator(dtype)]
    return error / (1 - error)


def assert_rounded(actual: np.ndarray, expected: np.ndarray, magnitude: np.ndarray, operations: int) -> None:
    """Assert that `actual` is `expected` up to `operations` roundings of terms whose sizes add up to `magnitude`.

    The twin rounds in float64 as well, hence the factor 2; a result in float16 is rounded once more when it is stored,
    and everything may be off by the smallest normal number where it underflows.
    """
    assert actual.shape == expected.shape
    dtype = np.dtype(actual.dtype)
    allowed = 2 * gamma(operations, dtype) * np.abs(magnitude) + float(np.finfo(accumulator(dtype)).smallest_normal)
    if dtype == np.float16:
        allowed = (
            allowed
            + UNIT_ROUNDOFF[dtype] * (np.abs(expected) + allowed)
            + float(np.finfo(dtype).smallest_subnormal) / 2
        )
    error = np.abs(np.asarray(actual, np.float64) - expected)
    assert np.isfinite(error).all()
    worst = np.unravel_index(np.argmax(error - allowed), error.shape) if error.ndim else ()
    assert error[worst] <= allowed[worst], f"{error[worst]:.3g} off at {worst}, rounding explains {allowed[worst]:.3g}"


def normal(seed: int, *shape: int, dtype: str = "float64", mean: float = 0.1, spread: float = 1.0) -> np.ndarray:
    """Return random numbers of `dtype`, the same for the same seed and shape."""
    return np.random.default_rng([seed, *shape]).normal(mean, spread, shape).astype(dtype)
