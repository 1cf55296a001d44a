"""Features on disk: found again, and made anew where a disk or a killed process has spoiled them."""

from __future__ import annotations

import hashlib
import os

import numpy as np
import pytest

from npconv.errors import InputError, NpconvWarning
from npconv.files.locks import open_locked, release
from npconv.training import feature_cache as module
from npconv.training.feature_cache import MAGIC, VARIABLE, FeatureCache

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


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is full")
def test_on_a_full_disk_what_is_there_is_still_found(path, monkeypatch):
    with FeatureCache(path, WIDTH) as cache:
        own = cache._file
        with open("/dev/full", "wb", buffering=0) as full, monkeypatch.context() as patch:
            patch.setattr(cache, "_file", full)
            with pytest.warns(NpconvWarning, match="kept no longer"):
                cache.add(DIGESTS[3], features(3))
        assert cache._file is own
        assert cache.find(DIGESTS[1]).tolist() == [10, 11, 12]


def test_photos_whose_hashes_begin_alike_are_told_apart(tmp_path):
    alike = [DIGESTS[0][:8] + bytes([number]) * 24 for number in range(3)]
    with FeatureCache(tmp_path / "cache.npconv", WIDTH) as cache:
        for number in (0, 2):
            cache.add(alike[number], features(number))
    with FeatureCache(tmp_path / "cache.npconv", WIDTH) as cache:
        values = [cache.find(digest) for digest in alike]
    assert [None if value is None else value[0] for value in values] == [0, None, 20]


def test_many_records_are_found(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_AT_ONCE", 3)
    digests = [hashlib.sha256(bytes([number])).digest() for number in range(100)]
    with FeatureCache(tmp_path / "cache.npconv", WIDTH) as cache:
        for number, digest in enumerate(digests):
            cache.add(digest, features(number))
    with FeatureCache(tmp_path / "cache.npconv", WIDTH) as cache:
        assert [cache.find(digest)[0] for digest in digests] == [10 * number for number in range(100)]


def name(letter: str) -> str:
    return f"{letter * 32}.npconv"


@pytest.fixture
def files(tmp_path):
    """The caches of four models, the first of them used longest ago, and files that are none."""
    folder = tmp_path / "features"
    for age, letter in enumerate("dcba"):
        with FeatureCache(folder / name(letter), WIDTH) as cache:
            cache.add(DIGESTS[0], features(0))
        os.utime(folder / name(letter), (1000 + age, 1000 + age))
    (folder / "notes.npconv").write_bytes(MAGIC * 100)
    (folder / name("e")).write_bytes(b"not of npconv" * 100)
    os.utime(folder / name("e"), (1, 1))
    (folder / name("f")).symlink_to(folder / "notes.npconv")
    return folder


def there(folder) -> set[str]:
    return {path.name[0] for path in folder.iterdir()}


def test_the_files_used_longest_ago_go_when_all_are_too_large(files, monkeypatch):
    size = (files / name("a")).stat().st_size
    foreign = (files / name("e")).stat().st_size
    monkeypatch.setattr(module, "MOST_BYTES", 3 * size + foreign)
    with FeatureCache(files / name("d"), WIDTH) as cache:  # used now, so c is the oldest
        assert cache.find(DIGESTS[0]) is not None
    assert there(files) == set("abdefn")
    monkeypatch.setattr(module, "MOST_BYTES", 0)
    with FeatureCache(files / name("b"), WIDTH):
        pass
    assert there(files) == set("befn")


def test_what_another_process_uses_stays(files, monkeypatch):
    monkeypatch.setattr(module, "MOST_BYTES", 0)
    file = open_locked(files / name("c"))
    try:
        with FeatureCache(files / name("a"), WIDTH):
            pass
    finally:
        release(file)
    assert there(files) == set("acefn")


def test_the_environment_says_how_much_is_kept(files, monkeypatch):
    monkeypatch.setenv(VARIABLE, "0")
    with FeatureCache(files / name("a"), WIDTH):
        pass
    assert there(files) == set("aefn")
    monkeypatch.setenv(VARIABLE, "2")
    assert module.most_bytes() == 2 * 2**20
    monkeypatch.setenv(VARIABLE, "1 GB")
    with pytest.raises(InputError, match="expected NPCONV_FEATURES_MB to be a whole number of MB, got '1 GB'"):
        FeatureCache(files / name("a"), WIDTH)
