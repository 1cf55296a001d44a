import gc
import subprocess
import sys
import threading
import warnings
import weakref
from functools import partial
from queue import SimpleQueue

import numpy as np
import pytest

from npconv.fast.engine import AGAIN, Scratch, SharedScratch, _SharedWork, run


def test_an_array_is_made_once_and_a_smaller_one_is_its_front():
    scratch = Scratch()
    large = scratch.array("name", 4, 5)
    assert large.dtype == np.float32
    large[...] = np.arange(20).reshape(4, 5)
    small = scratch.array("name", 2, 3)
    np.testing.assert_array_equal(small, np.arange(6).reshape(2, 3))
    assert np.shares_memory(small, large)
    assert np.shares_memory(scratch.array("name", 5, 4), large)
    assert scratch.nbytes == 80


def test_a_larger_shape_and_another_name_get_other_memory():
    scratch = Scratch()
    first = scratch.array("name", 3)
    assert not np.shares_memory(scratch.array("other", 3), first)
    assert not np.shares_memory(scratch.array("name", 4), first)
    assert not np.shares_memory(scratch.zero_bordered("name", 3), scratch.array("name", 3))
    assert scratch.array("name", 0, 7).shape == (0, 7)


def test_a_zero_bordered_array_is_zero_when_made_and_kept_for_its_shape_only():
    scratch = Scratch()
    first = scratch.zero_bordered("name", 2, 3)
    np.testing.assert_array_equal(first, np.zeros((2, 3)))
    first[:, 1] = 7
    np.testing.assert_array_equal(scratch.zero_bordered("name", 2, 3)[:, 1], 7)
    np.testing.assert_array_equal(scratch.zero_bordered("name", 3, 2), 0)
    np.testing.assert_array_equal(scratch.zero_bordered("name", 2, 3), 0)


@pytest.mark.parametrize("make", [Scratch, lambda: SharedScratch(2), lambda: SharedScratch(3)])
@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_map_keeps_the_order(make, count):
    assert make().map(lambda part, scratch: part * part, iter(range(count))) == [i * i for i in range(count)]


def test_parts_at_the_same_time_have_arrays_of_their_own():
    scratch = SharedScratch(3)
    together = threading.Barrier(3, timeout=30)

    def work(part, own):
        own.array("name", 2)[...] = part
        together.wait()  # all three have written
        return own.array("name", 2).tolist(), own.threads

    assert scratch.map(work, range(3)) == [([i, i], 1) for i in range(3)]


def test_a_single_part_shares_its_own_work():
    scratch = SharedScratch(2)
    assert scratch.map(lambda part, own: own, ["only"]) == [scratch]


@pytest.mark.parametrize("bad", range(4))
def test_an_error_in_one_part_arrives_when_all_are_done(bad):
    scratch = SharedScratch(2)
    running = []

    def work(part, own):
        running.append(part)
        try:
            if part == bad:
                raise KeyError(part)
            threading.Event().wait(0.01)
        finally:
            running.remove(part)

    with pytest.raises(KeyError, match=str(bad)):
        scratch.map(work, range(4))
    assert running == []
    assert scratch.map(lambda part, own: part, range(4)) == [0, 1, 2, 3]


class Interrupted:
    """Ctrl-C arrives when a word has been taken, before anything can be made of it; so the word is lost."""

    def __init__(self):
        self.words, self.interruptions = SimpleQueue(), 2

    def put(self, word):
        self.words.put(word)

    def get(self, timeout=None):
        word = self.words.get(timeout=timeout)
        if self.interruptions:
            self.interruptions -= 1
            raise KeyboardInterrupt
        return word


def test_an_interruption_does_not_leave_the_others_at_work(monkeypatch):
    """Nor does it wait for ever for a word that it has lost itself."""
    work = _SharedWork(lambda part, own: part, [0, 1], 2)
    work.done = Interrupted()
    work.helpers.append(1)
    helper = threading.Timer(0.05, lambda: (work.ended.append(1), work.done.put(None)))
    helper.start()
    waiting = threading.Thread(target=work.wait_for_helpers, daemon=True)
    waiting.start()
    waiting.join(30)
    assert not waiting.is_alive()
    assert work.ended == [1]
    assert [type(error) for error in work.errors] == [KeyboardInterrupt]


def test_all_are_waited_for_though_interruptions_come():
    work = _SharedWork(lambda part, own: part, [0, 1], 2)
    work.done = Interrupted()
    work.helpers += [1, 2]
    for word in range(2):
        work.done.put(word)  # of a helper that was heard before
    waiting = threading.Thread(target=work.wait_for_helpers, daemon=True)
    waiting.start()
    waiting.join(3 * AGAIN)
    assert waiting.is_alive()
    work.ended += [1, 2]
    waiting.join(30)
    assert not waiting.is_alive()
    assert [type(error) for error in work.errors] == [KeyboardInterrupt] * 2


def test_a_model_may_still_be_used_at_the_end_of_the_interpreter():
    """By what was registered before it: that runs last."""
    code = (
        "import atexit\n"
        "atexit.register(lambda: print(scratch.map(lambda part, own: part, range(3))))\n"
        "from npconv.fast.engine import SharedScratch\n"
        "scratch = SharedScratch(2)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[0, 1, 2]\n", "")


def test_an_error_does_not_keep_the_scratch_alive():
    gc.disable()
    try:
        scratch = SharedScratch(2)
        with pytest.raises(ZeroDivisionError):
            scratch.map(lambda part, own: 1 / 0, range(4))
        gone = weakref.ref(scratch)
        del scratch
        assert gone() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("drop", ["after use", "unused"])
def test_threads_end_with_their_scratch(drop):
    before = set(threading.enumerate())
    scratch = SharedScratch(3)
    started = set(threading.enumerate()) - before
    assert len(started) == 2
    if drop == "after use":
        scratch.map(lambda part, own: own.array("name", 5), range(4))
    del scratch
    for thread in started:
        thread.join(timeout=30)
        assert not thread.is_alive()


def test_tasks_of_several_kinds_are_done_at_once():
    tasks = [lambda own: own.threads, lambda own: "other", partial(lambda number, own: number, 3)]
    assert SharedScratch(2).map(run, tasks) == [1, "other", 3]


def test_numbers_beyond_float32_are_no_warning_in_any_thread():
    scratch = SharedScratch(2)
    huge = np.full(3, 1e30, np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for result in scratch.map(lambda part, own: huge * huge, range(4)):
            assert np.isinf(result).all()


def test_the_bytes_of_all_threads_count():
    scratch = SharedScratch(2)
    scratch.array("name", 10)
    together = threading.Barrier(2, timeout=30)  # else one of them could do both parts
    scratch.map(lambda part, own: (together.wait(), own.array("name", 5)), range(2))
    assert scratch.nbytes == 40 + 2 * 20


def test_a_thread_that_does_not_come_keeps_nobody_waiting():
    """Other programs have its core; here it waits for something else."""
    scratch, goes_on = SharedScratch(2), threading.Event()
    for _ in range(3):  # the first of these it has begun already, the others are still to come
        scratch._queues[0].put(lambda: goes_on.wait(60))
    assert scratch.map(lambda part, own: part, range(5)) == [0, 1, 2, 3, 4]
    assert not goes_on.is_set()
    goes_on.set()
    assert scratch.map(lambda part, own: part, range(5)) == [0, 1, 2, 3, 4]
