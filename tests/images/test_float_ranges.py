"""Pictures of floats: one value that is wrong is enough, and both ends of the range count."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from npconv import ConvNextImageProcessor
from npconv.errors import InputError, NpconvWarning

PLAIN = {"do_resize": False, "size": 8}


def picture(*values, channels=3):
    """A picture of halves with a few other values in it."""
    pixels = np.full((channels, 6, 7), 0.5)
    for place, value in enumerate(values):
        pixels[place % channels, place, 3] = value
    return pixels


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_value_that_is_not_finite_is_refused(value):
    with pytest.raises(InputError):
        ConvNextImageProcessor(**PLAIN)(picture(value))


def test_one_channel_that_overflows_is_refused():
    processor = ConvNextImageProcessor(**PLAIN, do_rescale=False, image_mean=[0.5] * 3, image_std=[1e-38, 1.0, 1.0])
    with pytest.raises(InputError, match="overflow"):
        processor(1000 * picture(0.0, 0.25, 0.75).astype(np.float32))


@pytest.mark.parametrize(("values", "is_scaled"), [((0.0, 1.0), True), ((0.0, 200.5), False), ((-1.0, 0.25), False)])
def test_a_picture_counts_as_scaled_if_all_its_values_are_from_0_to_1(values, is_scaled):
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        ConvNextImageProcessor(**PLAIN, do_rescale=True)(picture(*values))
    assert any(issubclass(w.category, NpconvWarning) and "0 to 1 already" in str(w.message) for w in seen) == is_scaled


@pytest.mark.parametrize("values", [(200.0,), (-0.25,), (0.0, 1.25)])
def test_floats_with_alpha_are_from_0_to_1_from_end_to_end(values):
    with pytest.raises(InputError, match="expected RGBA floats from 0 to 1"):
        ConvNextImageProcessor(**PLAIN)(picture(*values, channels=4))
