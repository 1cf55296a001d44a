"""Near duplicates between the training part and another one, by the features of the embedded model."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from npconv import AutoImageProcessor
from npconv.training import duplicates
from npconv.training.duplicates import ALIKE, near_duplicates
from npconv.training.features import work_out_features

MODEL = "convnextv2-cifar10"


def scene(seed: int) -> Image.Image:
    """A picture with coarse and fine structure."""
    rng = np.random.default_rng(seed)
    pixels = np.zeros((32, 32, 3))
    for cells, strength in ((3, 150), (8, 70), (32, 6)):
        noise = rng.integers(0, strength, (cells, cells, 3), dtype=np.uint8)
        pixels += np.asarray(Image.fromarray(noise).resize((32, 32), Image.Resampling.BICUBIC))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def compressed(picture: Image.Image) -> Image.Image:
    content = io.BytesIO()
    picture.save(content, "JPEG", quality=90, subsampling=0)
    return Image.open(content)


#: What people do to a photo that they then have twice.
CHANGES = {
    "the same": lambda picture: picture,
    "compressed": compressed,
    "brighter": lambda picture: ImageEnhance.Brightness(picture).enhance(1.1),
    "enlarged": lambda picture: picture.resize((64, 64), Image.Resampling.BICUBIC),
}


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """The features of pictures: 60 to train on, 20 others, and four of the first once more, changed."""
    folder = tmp_path_factory.mktemp("photos")
    pictures = [scene(seed) for seed in range(80)]
    pictures += [change(pictures[place]) for place, change in enumerate(CHANGES.values())]
    files = [str(folder / f"{number}.png") for number in range(len(pictures))]
    for file, picture in zip(files, pictures, strict=True):
        picture.save(file)
    processor = AutoImageProcessor.from_pretrained(MODEL)
    return work_out_features(files, MODEL, processor=processor, cache=False, batch_size=21).table


def test_photos_that_were_changed_a_little_are_found_and_no_others(table):
    found = near_duplicates(table[:60], table[60:])
    assert {(each.place, each.of) for each in found} == {(20 + number, number) for number in range(len(CHANGES))}
    assert all(ALIKE <= each.likeness <= 1 for each in found)


def test_the_most_alike_come_first(table):
    found = near_duplicates(table[:60], table[60:], alike=-1)
    assert [each.likeness for each in found] == sorted((each.likeness for each in found), reverse=True)
    assert found[0][:2] == (20, 0)
    assert len(found) == 24


@pytest.mark.parametrize("rows", [1, 7, 24, 25])
def test_other_photos_are_compared_in_pieces(table, monkeypatch, rows):
    whole = near_duplicates(table[:60], table[60:])
    monkeypatch.setattr(duplicates, "_ROWS", rows)
    cut = near_duplicates(table[:60], table[60:])
    assert [each[:2] for each in cut] == [each[:2] for each in whole]
    np.testing.assert_allclose([each.likeness for each in cut], [each.likeness for each in whole], rtol=1e-6)


def test_of_no_photos_nothing_is_a_duplicate(table):
    assert near_duplicates(table[:0], table) == near_duplicates(table, table[:0]) == []
