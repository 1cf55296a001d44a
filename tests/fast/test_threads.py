import os
from contextlib import contextmanager

import pytest

from npconv.errors import InputError
from npconv.fast import engine as threads
from npconv.fast.engine import Scratch, SharedScratch


def test_all_cores_unless_a_number_is_given():
    assert threads.choose_threads(None) == threads.available_cores()
    assert 1 <= threads.available_cores() <= (os.cpu_count() or 1)
    assert threads.choose_threads(1) == 1
    assert threads.choose_threads(7) == 7


@pytest.mark.parametrize("wrong", [0, -1, 1.5, "2", True, [1]])
def test_other_numbers_of_threads_are_refused(wrong):
    with pytest.raises(InputError, match="expected threads to be a whole number of at least 1"):
        threads.choose_threads(wrong)


@pytest.mark.parametrize("limit", [None, lambda: None])
def test_threads_of_our_own_only_where_the_blas_can_be_held(monkeypatch, limit):
    monkeypatch.setattr(threads, "blas_limit", lambda: limit)
    assert type(threads.make_scratch(1)) is Scratch
    assert type(threads.make_scratch(2)) is (Scratch if limit is None else SharedScratch)


def test_a_limit_of_the_process_is_lifted_when_the_last_user_has_gone():
    log = []

    @contextmanager
    def limit():
        log.append("set")
        yield
        log.append("lifted")

    shared = threads.SharedLimit(limit)
    first, second = shared(), shared()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)  # the other still works under it
    assert log == ["set"]
    second.__exit__(None, None, None)
    assert log == ["set", "lifted"]
    with pytest.raises(KeyError), shared():
        raise KeyError
    assert log == ["set", "lifted", "set", "lifted"]
