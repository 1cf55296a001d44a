"""How training photos are varied: what stays in its bounds, repeats with its seed, and is what its name says."""

import numpy as np
import pytest

from npconv.training.augment import augment, interpolation, mixup, random_cuts, smooth_targets, vary_colours


def photos(count=40, height=16, width=16, channels=3):
    return np.random.default_rng(0).integers(0, 256, (count, channels, height, width), dtype=np.uint8)


@pytest.mark.parametrize("shape", [(16, 16, 3), (13, 20, 3), (8, 8, 1)])
def test_variations_keep_shape_and_range_and_repeat_with_the_seed(shape):
    pixels = photos(40, *shape)
    before = pixels.copy()
    first, again, other = (augment(pixels, np.random.default_rng(seed), flip=True) for seed in (4, 4, 5))
    assert first.shape == pixels.shape
    assert first.dtype == np.float32
    assert first.min() >= 0
    assert first.max() <= 255
    np.testing.assert_array_equal(pixels, before)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_photo_of_one_colour_stays_so_wherever_it_is_cut():
    flat = np.broadcast_to(np.array([20.0, 120.0, 200.0], np.float32)[:, None, None], (200, 3, 32, 24))
    cuts = random_cuts(flat, np.random.default_rng(0), flip=True)
    np.testing.assert_allclose(cuts, flat, rtol=1e-6)  # four weights that add up to 1, in float32


@pytest.mark.parametrize("flip", [True, False])
def test_half_of_the_cuts_are_moved_by_whole_pixels_and_half_mirrored_if_asked(flip):
    columns = np.broadcast_to(8 * np.arange(32, dtype=np.float32), (400, 3, 32, 32))
    cuts = random_cuts(columns, np.random.default_rng(0), flip=flip)[:, 0, 16]
    steps = np.diff(cuts, axis=1)[:, 8:-8] / 8
    is_moved = np.abs(np.abs(steps) - 1).max(axis=1) < 1e-3
    assert 150 < is_moved.sum() < 250  # of 400, half; 5 standard deviations
    is_mirrored = steps[:, 0] < 0
    assert 150 < is_mirrored.sum() < 250 if flip else not is_mirrored.any()


def test_interpolation_is_exact_at_pixels_and_of_cubics_between():
    places = np.array([[0.0, 3.0, 7.0], [2.5, 3.25, 4.75]])
    matrices = interpolation(places, 8)
    pixels = np.arange(8.0)
    np.testing.assert_array_equal(matrices[0], np.eye(8, dtype=np.float32)[[0, 3, 7]])
    np.testing.assert_allclose(matrices[1] @ pixels, places[1], rtol=1e-6)  # float32
    np.testing.assert_allclose(matrices[1] @ pixels**2, places[1] ** 2, rtol=1e-6)


def test_beyond_the_edge_is_the_mirror_image():
    row = np.array([5.0, 7.0, 11.0])
    places = np.array([[-3.0, -2.0, -1.0, 3.0, 4.0, 5.0]])
    np.testing.assert_allclose((interpolation(places, 3) @ row)[0], [11, 7, 5, 11, 7, 5])


def test_a_grey_photo_stays_grey_in_other_colours():
    grey = np.broadcast_to(np.linspace(60, 120, 64, dtype=np.float32).reshape(8, 8), (30, 3, 8, 8))
    varied = vary_colours(grey, np.random.default_rng(0))
    np.testing.assert_allclose(varied[:, 0], varied[:, 1], atol=1e-3)  # float32 roundings of 255
    factors = varied.mean((1, 2, 3)) / grey.mean((1, 2, 3))
    assert factors.min() >= 0.7 - 1e-5
    assert factors.max() <= 1.3 + 1e-5
    assert factors.std() > 0.05


def test_smoothed_targets_are_probabilities():
    targets = smooth_targets(np.array([2, 0]), 4, 0.2)
    np.testing.assert_allclose(targets, [[0.05, 0.05, 0.85, 0.05], [0.85, 0.05, 0.05, 0.05]], rtol=1e-6)
    np.testing.assert_array_equal(smooth_targets(np.array([1]), 3, 0.0), [[0, 1, 0]])


def test_mixup_mixes_pictures_and_targets_in_the_same_shares():
    x = np.eye(6, dtype=np.float32).reshape(6, 1, 2, 3)
    mixed, targets = mixup(x, np.eye(6, dtype=np.float32), 0.5, np.random.default_rng(0))
    np.testing.assert_array_equal(mixed.reshape(6, 6), targets)
    np.testing.assert_allclose(targets.sum(axis=1), 1, rtol=1e-6)
    assert ((targets > 0).sum(axis=1) <= 2).all()
    assert ((targets > 0).sum(axis=1) == 2).any()
