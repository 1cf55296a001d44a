"""Ctrl-C while a future or a pool has a lock of Python's."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from npconv.workers.interrupts import uninterrupted
from npconv.workers.pool import WorkerPool


def press():
    """Press Ctrl-C, and let Python look whether it came."""
    os.kill(os.getpid(), signal.SIGINT)
    for _ in range(1000):
        pass


def test_a_block_is_done_before_ctrl_c_comes():
    done = []

    def work():
        with uninterrupted():
            press()
            with uninterrupted():  # within another
                press()
            done.append("inner")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["inner"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_who_ignores_it_or_is_no_main_thread_notices_nothing(monkeypatch):
    earlier = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with uninterrupted():
            press()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, earlier)
    with ThreadPoolExecutor(1) as executor:
        assert executor.submit(_in_a_block).result() == "done"
    monkeypatch.setattr(signal, "getsignal", lambda _: None)  # a program in C has its own way
    assert _in_a_block() == "done"


def _in_a_block():
    with uninterrupted():
        return "done"


def test_a_pool_goes_on_after_ctrl_c_in_the_midst_of_taking_a_task(monkeypatch):
    """The task is taken as a whole, and no lock stays taken."""
    submit, taken = ThreadPoolExecutor.submit, []

    def interrupted(executor, *task):
        press()
        taken.append(submit(executor, *task))
        return taken[-1]

    with WorkerPool(1) as pool:
        monkeypatch.setattr(ThreadPoolExecutor, "submit", interrupted)
        with pytest.raises(KeyboardInterrupt):
            pool.submit(int, "3")
        monkeypatch.setattr(ThreadPoolExecutor, "submit", submit)
        assert [taken[0].result(), pool.submit(int, "4").result()] == [3, 4]
