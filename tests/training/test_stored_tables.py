"""Tables in files: what is read in blocks, here or in another process, is what an array in memory gives."""

from __future__ import annotations

import errno
import os
import pickle

import numpy as np
import pytest

from npconv.errors import UnavailableError
from npconv.training import tables as module
from npconv.training.duplicates import near_duplicates
from npconv.training.head import Scaling, fit_head
from npconv.training.photo_tables import MULTI, REGRESSION, SINGLE
from npconv.training.tables import Rows, array_on_disk, blocks

PLACES, COLUMNS = np.arange(59, 0, -2), slice(2, 7)


@pytest.fixture
def table(tmp_path):
    """A table (60, 9) in a file."""
    stored = array_on_disk((60, 9), np.float32, tmp_path, name="table")
    stored[:] = np.random.default_rng(0).normal(3, 2, stored.shape)
    return stored


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of four rows of the five columns."""
    monkeypatch.setattr(module, "BLOCK", 4 * 5 * 4)


def test_rows_are_those_of_the_table(table):
    rows = Rows(table, PLACES, COLUMNS)
    expected = np.array(table)[PLACES, COLUMNS]
    assert (len(rows), rows.shape, rows.dtype) == (30, (30, 5), np.float32)
    np.testing.assert_array_equal(rows[:], expected)
    np.testing.assert_array_equal(rows[7:11], expected[7:11])
    np.testing.assert_array_equal(rows[np.array([4, 1])], expected[[4, 1]])


def test_blocks_are_all_rows_once(table, small_blocks):
    rows = Rows(table, PLACES, COLUMNS)
    parts = list(blocks(rows))
    assert [part.stop - part.start for part in parts] == [4] * 7 + [2]
    np.testing.assert_array_equal(np.concatenate([rows[part] for part in parts]), rows[:])


def test_another_process_is_sent_the_name_and_not_the_table(table):
    rows = Rows(table, PLACES, COLUMNS)
    before = rows[:].copy()
    sent = pickle.dumps(rows)
    assert len(sent) < table.nbytes
    table[:] += 1  # it sees the same file
    np.testing.assert_array_equal(pickle.loads(sent)[:], before + 1)


def test_of_a_table_in_memory_the_numbers_are_sent(table):
    rows = Rows(np.array(table), PLACES, COLUMNS)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(rows))[:], rows[:])


@pytest.mark.parametrize("problem_type", [SINGLE, MULTI, REGRESSION])
def test_a_head_fitted_in_blocks_is_that_of_the_array(table, small_blocks, monkeypatch, problem_type):
    rng = np.random.default_rng(1)
    targets = {
        SINGLE: rng.integers(0, 3, 30),
        MULTI: rng.integers(0, 2, (30, 3)).astype(np.float32),
        REGRESSION: rng.normal(size=(30, 3)).astype(np.float32),
    }[problem_type]
    rows = Rows(table.astype(np.float64), PLACES, COLUMNS)
    found = fit_head(rows, targets, 3, problem_type, strength=0.1)
    monkeypatch.setattr(module, "BLOCK", 2**20)
    expected = fit_head(rows[:], targets, 3, problem_type, strength=0.1)
    # Sums of 30 numbers in float64, in another order. The way to the optimum is the same but for that.
    for one, another in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, another, rtol=0, atol=1e-9)


def test_a_scaling_of_blocks_is_that_of_the_array(table, small_blocks):
    rows = Rows(table, PLACES, COLUMNS)
    found, array = Scaling.of(rows), rows[:].astype(np.float64)
    # of float32, rounded once
    np.testing.assert_allclose(found.mean, array.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(found.scale, array.std(axis=0), rtol=1e-6)


def test_near_duplicates_are_found_in_every_block(table, small_blocks):
    table[50:] = table[[0, 9, 17, 23, 30, 31, 32, 40, 48, 49]] * np.float32(1.0001)
    found = near_duplicates(Rows(table, np.arange(50), slice(None)), Rows(table, np.arange(50, 60), slice(None)))
    assert {each.place: each.of for each in found} == dict(enumerate([0, 9, 17, 23, 30, 31, 32, 40, 48, 49]))


def test_a_full_disk_is_told(tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(module.os, "posix_fallocate", full, raising=False)
    with pytest.raises(UnavailableError, match=r"expected room for 48 bytes .* \(No space left on device\); make some"):
        array_on_disk((4, 3), np.float32, tmp_path, name="table")
