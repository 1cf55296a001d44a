"""Photos decoded to train on: as the model's own preprocessing makes them, and what cannot be read left out."""

import errno
import os
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from support.small_training import RECIPE, small_pictures

from npconv.errors import InputError, UnavailableError
from npconv.images import ConvNextImageProcessor
from npconv.images.decode import open_image
from npconv.training.photos import LabelledPhotos
from npconv.training.pictures import finisher, read_pictures


def labelled(folder, sizes=((40, 30), (31, 47), (32, 32), (90, 33)), broken=()):
    """Return photos of random colours, of which some cannot be read."""
    rng = np.random.default_rng(0)
    files = []
    for number, (width, height) in enumerate(sizes):
        path = folder / f"{number}.png"
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(path)
        if number in broken:
            path.write_bytes(path.read_bytes()[:60])
        files.append(str(path))
    return LabelledPhotos(tuple(files), np.arange(len(files)) % 2, ("a", "b"))


PROCESSORS = {
    "usual": ConvNextImageProcessor(size=32, crop_pct=0.875),
    "own numbers": ConvNextImageProcessor(size=20, image_mean=[0.1, 0.2, 0.3], image_std=[0.5, 0.25, 0.2]),
    "one number": ConvNextImageProcessor(size=20, image_mean=0.4, image_std=0.3),
    "not normalized": ConvNextImageProcessor(size=20, do_normalize=False),
    "twice the factor": ConvNextImageProcessor(size=20, rescale_factor=1 / 127.5),
    "not rescaled": ConvNextImageProcessor(size=20, do_rescale=False, image_mean=120.0, image_std=60.0),
}


@pytest.mark.parametrize("name", PROCESSORS)
def test_photos_that_are_not_varied_are_those_of_the_processor(tmp_path, name):
    photos, processor = labelled(tmp_path), PROCESSORS[name]
    pictures, problems = read_pictures(photos, processor, tmp_path)
    assert problems == ()
    ((x, targets),) = pictures.batches(10)
    expected = processor([open_image(file) for file in photos.files])["pixel_values"]
    np.testing.assert_array_equal(x, expected)
    np.testing.assert_array_equal(targets, photos.targets)


def test_photos_that_cannot_be_read_are_left_out_and_named(tmp_path):
    photos = labelled(tmp_path, broken=[0, 2])
    pictures, problems = read_pictures(photos, PROCESSORS["usual"], tmp_path)
    assert [problem.kind for problem in problems] == ["unreadable"] * 2
    assert [problem.file for problem in problems] == [photos.files[0], photos.files[2]]
    assert not any(photos.files[0] in problem.detail for problem in problems)
    np.testing.assert_array_equal(pictures.targets, [1, 1])
    ((x, _),) = pictures.batches(10)
    expected = PROCESSORS["usual"]([open_image(photos.files[k]) for k in (1, 3)])["pixel_values"]
    np.testing.assert_array_equal(x, expected)


def test_no_photo_that_can_be_read_is_an_error(tmp_path):
    with pytest.raises(InputError, match="expected photos that can be read, got none of 4"):
        read_pictures(labelled(tmp_path, broken=range(4)), PROCESSORS["usual"], tmp_path)


def test_photos_that_stay_of_several_sizes_are_an_error(tmp_path):
    processor = ConvNextImageProcessor(do_resize=False)
    with pytest.raises(InputError, match="a preprocessing that brings all photos to one size"):
        read_pictures(labelled(tmp_path), processor, tmp_path)


def test_the_decoded_photos_leave_no_file_behind(tmp_path):
    photos = labelled(tmp_path)
    before = sorted(tmp_path.iterdir())
    pictures, _ = read_pictures(photos, PROCESSORS["usual"], tmp_path)
    assert pictures.pixels.dtype == np.uint8
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="the system gives no room beforehand")
def test_a_full_disk_is_told_before_photos_are_read(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(
        UnavailableError, match=r"room for 12,288 bytes of photos or their features .No space left on device"
    ):
        read_pictures(labelled(tmp_path), PROCESSORS["usual"], tmp_path)


def test_batches_to_train_with_are_varied_smoothed_and_mixed():
    pictures = small_pictures()
    places = np.array([3, 0, 7])
    plain = replace(RECIPE, mixup=0.0, label_smoothing=0.0)
    x, targets = pictures.varied(places, plain, np.random.default_rng(0))
    assert x.shape == (3, 3, 12, 12)
    np.testing.assert_array_equal(targets, np.eye(3)[pictures.targets[places]])
    smoothed = pictures.varied(places, replace(RECIPE, mixup=0.0), np.random.default_rng(0))
    np.testing.assert_array_equal(smoothed[0], x)
    np.testing.assert_allclose(smoothed[1].max(axis=1), 0.9 + 0.1 / 3)
    mixed = pictures.varied(places, RECIPE, np.random.default_rng(0))
    assert not np.array_equal(mixed[0], x)
    np.testing.assert_allclose(mixed[1].sum(axis=1), 1, rtol=1e-6)


def test_numbers_are_mixed_and_not_smoothed():
    targets = np.arange(23, dtype=np.float32)
    pictures = replace(small_pictures(), targets=targets, problem_type="regression")
    _, plain = pictures.varied(np.arange(5), replace(RECIPE, mixup=0.0), np.random.default_rng(0))
    np.testing.assert_array_equal(plain, targets[:5])


def test_what_is_left_to_do_takes_floats_too():
    finish = finisher(PROCESSORS["own numbers"])
    pixels = small_pictures().pixels
    np.testing.assert_array_equal(finish(pixels), finish(pixels.astype(np.float32)))
