"""Channels of a map as a picture, and the sheet that they are put on."""

import io

import numpy as np
import pytest
from PIL import Image

from npconv.errors import InputError, ShapeError
from npconv.pictures.colours import diverging, sequential
from npconv.pictures.maps import as_map, maps, strongest, summarize
from npconv.pictures.picture import GAP_COLOUR, Picture, sheet
from npconv.pictures.views import bars

X = np.stack([np.full((2, 3), 5.0), np.arange(6.0).reshape(2, 3), 10 * np.arange(6.0).reshape(2, 3)])


def test_the_strongest_channels_vary_most_and_equal_ones_keep_their_order():
    assert strongest(X, 3) == [2, 1, 0]
    assert strongest(np.concatenate([X, X]), 4) == [2, 5, 1, 4]


def test_each_channel_has_its_own_scale_or_all_have_one():
    own = maps(X, channels=[1, 2], columns=2).pixels
    np.testing.assert_array_equal(own[:, :3], own[:, 4:])
    np.testing.assert_array_equal(own[:, :3], sequential(X[1] / 5))
    shared = maps(X, channels=[1, 2], columns=2, same_scale=True).pixels
    np.testing.assert_array_equal(shared[:, :3], sequential(X[1] / 50))
    np.testing.assert_array_equal(shared[:, 4:], sequential(X[2] / 50))


def test_negative_values_are_blue_and_nothing_is_white():
    pixels = maps(np.array([[[-2.0, 0.0, 1.0]]])).pixels
    np.testing.assert_array_equal(pixels, diverging(np.array([[-1.0, 0.0, 0.5]])))


def test_a_channel_of_zeros_is_nothing():
    np.testing.assert_array_equal(maps(np.zeros((1, 2, 2))).pixels, sequential(np.zeros((2, 2))))


@pytest.mark.parametrize("channels", [[3], [-1], []])
def test_channels_that_are_not_there_are_refused(channels):
    with pytest.raises(InputError, match="expected channels from 0 to 2"):
        maps(X, channels=channels)


@pytest.mark.parametrize("shape", [(2, 2), (2, 3, 4, 4), (0, 3, 3)])
def test_what_is_no_map_is_refused(shape):
    with pytest.raises(ShapeError, match=r"expected a map of shape \(C, H, W\)"):
        as_map(np.zeros(shape))


def test_a_map_in_a_few_numbers():
    found = summarize(X)
    assert found == (X.mean(), X.std(), 0.0, 50.0, 1)


def test_tiles_stand_in_rows_with_a_gap_between():
    tiles = [np.full((2, 2, 3), number, np.uint8) for number in (1, 2, 3)]
    pixels = sheet(tiles)
    assert pixels.shape == (5, 5, 3)
    assert (pixels[:2, :2] == 1).all()
    assert (pixels[:2, 3:] == 2).all()
    assert (pixels[3:, :2] == 3).all()
    assert (pixels[2] == GAP_COLOUR).all()
    with pytest.raises(InputError, match="expected a tile at least"):
        sheet([])


def test_a_notebook_and_a_file_get_the_same_pixels(tmp_path):
    picture = maps(X)
    for content in (picture.png(), picture.enlarged(1)._repr_png_()):
        shown = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
        times = shown.shape[0] // picture.pixels.shape[0]
        np.testing.assert_array_equal(shown[::times, ::times], picture.pixels)
    picture.save(tmp_path / "x.png")
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "x.png")), picture.pixels)
    assert "channels 2, 1, 0" in repr(picture)


def test_bars_reach_from_nothing_to_their_number():
    blue = bars(np.array([1.0, -1.0, 0.5]), height=8).pixels[..., 0] < 255
    assert [column.tolist() for column in blue.T] == [
        [True] * 4 + [False] * 4,
        [False] * 4 + [True] * 4,
        [False] * 2 + [True] * 2 + [False] * 4,
    ]


def test_of_very_many_numbers_the_largest_of_each_few_is_a_bar():
    values = np.zeros(1000)
    values[637] = -3.0
    picture = bars(values)
    assert picture.pixels.shape[1] <= 256
    assert (picture.pixels[-1, :, 0] < 255).sum() == 1
    assert isinstance(picture, Picture)
