"""Features on disk: found again, and made anew where a disk or a killed process has spoiled them."""

from __future__ import annotations

import hashlib
import os

import numpy as np
import pytest

from npconv.errors import NpconvWarning
from npconv.files.locks import open_locked, release
from npconv.training.feature_cache import MAGIC, FeatureCache

WIDTH = 3
DIGESTS = [hashlib.sha256(bytes([number])).digest() for number in range(4)]


def features(number: int) -> np.ndarray:
    return np.arange(WIDTH, dtype=np.float32) + 10 * number


@pytest.fixture
def path(tmp_path):
    """A cache with the features of three photos."""
    path = tmp_path / "below" / "cache.npconv"
    with FeatureCache(path, WIDTH) as cache:
        for number in range(3):
            cache.add(DIGESTS[number], features(number))
    return path


def found(path, width: int = WIDTH) -> list[list[float] | None]:
    """What a new process finds for each of the photos."""
    with FeatureCache(path, width) as cache:
        values = (cache.find(digest) for digest in DIGESTS)
        return [None if value is None else value.tolist() for value in values]


def test_features_are_found_again(path):
    assert found(path) == [[0, 1, 2], [10, 11, 12], [20, 21, 22], None]


def test_more_are_added_to_those_that_are_there(path):
    with FeatureCache(path, WIDTH) as cache:
        cache.add(DIGESTS[3], features(3))
    assert found(path)[3] == [30, 31, 32]
    assert found(path)[0] == [0, 1, 2]


def test_a_record_that_was_not_written_to_its_end_is_passed_over(path):
    size = path.stat().st_size
    os.truncate(path, size - 5)
    assert found(path) == [[0, 1, 2], [10, 11, 12], None, None]
    with FeatureCache(path, WIDTH) as cache:
        cache.add(DIGESTS[2], features(2))
    assert path.stat().st_size == size
    assert found(path)[2] == [20, 21, 22]


@pytest.mark.parametrize("place", [0, 31, 32, 43, 44, 47])
def test_a_record_with_a_wrong_byte_is_passed_over_and_made_anew(path, place):
    """In the hash, the features or the checksum."""
    content = bytearray(path.read_bytes())
    record = (len(content) - len(MAGIC)) // 3
    assert record == 48
    content[len(MAGIC) + record + place] ^= 1
    path.write_bytes(content)
    assert found(path) == [[0, 1, 2], None, [20, 21, 22], None]
    with FeatureCache(path, WIDTH) as cache:
        cache.add(DIGESTS[1], features(1))
    assert found(path) == [[0, 1, 2], [10, 11, 12], [20, 21, 22], None]


@pytest.mark.parametrize("content", [b"", b"npconv", b"another program's file" * 10])
def test_a_file_of_something_else_is_begun_anew(tmp_path, content):
    path = tmp_path / "cache.npconv"
    path.write_bytes(content)
    assert found(path) == [None] * 4
    with FeatureCache(path, WIDTH) as cache:
        cache.add(DIGESTS[0], features(0))
    assert found(path)[0] == [0, 1, 2]


def test_features_of_another_width_are_not_found(path):
    assert found(path, WIDTH + 1) == [None] * 4


def test_without_a_path_nothing_is_kept():
    with FeatureCache(None, WIDTH) as cache:
        cache.add(DIGESTS[0], features(0))
        assert cache.find(DIGESTS[0]) is None


def test_while_another_process_has_the_file_nothing_is_kept(path):
    before = path.read_bytes()
    file = open_locked(path)
    try:
        with pytest.warns(NpconvWarning, match="features are not kept there: .* is being written by another process"):
            cache = FeatureCache(path, WIDTH)
        cache.add(DIGESTS[3], features(3))
        cache.close()
    finally:
        release(file)
    assert path.read_bytes() == before


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").touch()
    with pytest.warns(NpconvWarning, match="features are not kept there: .*; check the path"):
        cache = FeatureCache(tmp_path / "file" / "cache.npconv", WIDTH)
    assert cache.find(DIGESTS[0]) is None


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is full")
def test_a_full_disk_ends_the_keeping_and_not_the_work(path, monkeypatch):
    with FeatureCache(path, WIDTH) as cache, open("/dev/full", "wb", buffering=0) as full:
        own = cache._file
        monkeypatch.setattr(cache, "_file", full)
        with pytest.warns(NpconvWarning, match="features are kept no longer: No space left"):
            cache.add(DIGESTS[3], features(3))
        cache.add(DIGESTS[3], features(3))
        release(own)
