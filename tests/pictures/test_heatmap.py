"""Arrays that a notebook shows: the picture of the same numbers, and arrays as before in all else."""

from __future__ import annotations

import io
import pickle

import numpy as np
import pytest
from PIL import Image

from npconv.errors import ShapeError
from npconv.pictures.colours import diverging, sequential
from npconv.pictures.heatmap import MOST_MAPS, Heatmap, as_heatmap
from npconv.pictures.overlay import overlay
from npconv.pictures.picture import Picture

X = as_heatmap(np.array([[[0.0, 2.0], [1.0, 4.0]], [[0.0, 1.0], [0.0, 0.5]]]))


def test_each_map_has_a_scale_of_its_own_and_those_of_one_picture_share_one():
    own = X.picture.pixels
    np.testing.assert_array_equal(own[:, :2], sequential(np.asarray(X[0]) / 4))
    np.testing.assert_array_equal(own[:, 3:], sequential(np.asarray(X[1])))
    np.testing.assert_array_equal(X[None].picture.pixels[:, 3:], sequential(np.asarray(X[1]) / 4))
    np.testing.assert_array_equal(X[0].picture.pixels, own[:, :2])


def test_where_some_are_negative_nothing_is_white():
    np.testing.assert_array_equal((-X[0]).picture.pixels, diverging(-np.asarray(X[0]) / 4))


def test_a_notebook_gets_the_picture_and_what_has_no_two_axes_is_no_map():
    shown = np.asarray(Image.open(io.BytesIO(X[0]._repr_png_())).convert("RGB"))
    np.testing.assert_array_equal(shown[::128, ::128], X[0].picture.pixels)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(X.png())).convert("RGB")), X.picture.pixels)
    flat = X.reshape(-1)
    assert flat._repr_png_() is None
    assert X[:, :, :0]._repr_png_() is None
    with pytest.raises(
        ShapeError, match=r"expected numbers over positions \(..., H, W\) to show, got an array of shape"
    ):
        _ = flat.picture


def test_what_is_computed_of_it_is_one_as_long_as_it_has_two_axes():
    assert isinstance(abs(X).max(axis=0), Heatmap)
    assert isinstance(X > 1, Heatmap)
    assert (X > 1)._repr_png_() is not None
    for number in (X.max(), X.sum(), X[0, 0, 0], X.mean()):
        assert type(number) is np.float64
    assert type(X.sum(axis=(1, 2))) is np.ndarray
    copied = pickle.loads(pickle.dumps(X))
    assert isinstance(copied, Heatmap)
    np.testing.assert_array_equal(copied, X)


def test_of_very_many_maps_the_first_are_shown():
    many = as_heatmap(np.ones((MOST_MAPS + 9, 2, 2)))
    assert many.picture.pixels.shape == many[:MOST_MAPS].picture.pixels.shape


def test_numbers_in_half_precision_and_what_is_no_number_are_shown():
    half = as_heatmap(np.array([[60000.0, 30000.0]], np.float16))
    np.testing.assert_array_equal(half.picture.pixels, sequential(np.array([[1.0, 0.5]])))
    broken = as_heatmap(np.array([[np.nan, 1.0], [np.inf, 0.0]]))
    assert broken.picture.pixels[0, 0].tolist() == [255, 0, 0]


def test_arrays_of_another_library_stay_what_they_are(device_stub):
    array = device_stub.asarray(np.ones((2, 2)))
    assert as_heatmap(array) is array


def test_numbers_over_a_photo_are_stretched_to_its_size():
    photo = Picture(np.zeros((4, 6, 3), np.uint8))
    squares = overlay(photo, X[:1], smooth=False).pixels
    np.testing.assert_array_equal(squares[:2, :3], np.broadcast_to(np.rint(0.6 * sequential(np.array(0.0))), (2, 3, 3)))
    np.testing.assert_array_equal(squares[2:, 3:], np.broadcast_to(np.rint(0.6 * sequential(np.array(1.0))), (2, 3, 3)))
    assert len(np.unique(overlay(photo, X[0]).pixels.reshape(-1, 3), axis=0)) > 4
    for wrong in (X, np.zeros(3), np.zeros((0, 2))):
        with pytest.raises(ShapeError, match=r"expected numbers \(H, W\) or \(1, H, W\) to lay over a photo, got"):
            overlay(photo, wrong)
