"""Locks, and blocks that a fork waits for."""

import ast
import itertools
import os
import threading
import warnings
from pathlib import Path

import pytest

import npconv
from npconv import forks
from npconv.fast.engine import SharedLimit
from npconv.forks import Gate, Lock, kept_property

PACKAGE = Path(npconv.__file__).parent

posix = pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks here")


def test_a_fork_waits_for_blocks_of_other_threads_alone_and_not_for_ever(monkeypatch):
    """With a clock that goes on by itself, and a block that never ends."""
    slept = []
    clock = itertools.count()
    monkeypatch.setattr(forks.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(forks.time, "sleep", slept.append)
    monkeypatch.setattr(forks.os, "register_at_fork", lambda **_: None, raising=False)
    gate = Gate()
    gate._inside.add(threading.get_ident())
    gate._close()
    assert slept == []
    gate._open()
    gate._inside.add(-1)
    gate._close()
    assert len(slept) == forks.PATIENCE - 1
    gate._open()
    with gate():
        assert gate._inside == {threading.get_ident(), -1}


def in_a_child(check) -> bool:
    """Whether something holds in a forked child, which is given 20 seconds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of Python 3.12, where there are threads
        child = os.fork()
    if child == 0:
        threading.Timer(20, os._exit, [3]).start()
        os._exit(0 if check() else 2)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


class Elsewhere:
    """Another thread in the middle of a block, until the end of a ``with``."""

    def __init__(self, block):
        self.block, self.inside, self.goes_on = block, threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        with self.block():
            self.inside.set()
            assert self.goes_on.wait(20)

    def __enter__(self):
        self.thread.start()
        assert self.inside.wait(20)
        return self

    def __exit__(self, *_):
        self.goes_on.set()
        self.thread.join()


def takes(lock: Lock) -> bool:
    with lock.held():
        return True


@posix
def test_a_lock_is_free_in_a_child_whoever_held_it():
    lock = Lock()
    with Elsewhere(lock.held):
        assert in_a_child(lambda: takes(lock))
        assert lock._lock.locked()  # here it is still that thread's
    with lock.held():
        assert in_a_child(lambda: takes(lock))


@posix
def test_a_lock_that_is_held_by_the_one_who_forks_is_let_go_in_the_child():
    lock = Lock()

    def fork_within():
        with lock.held():
            return in_a_child(lambda: True)

    assert fork_within()
    assert takes(lock)


@posix
def test_a_fork_waits_for_blocks_of_other_threads():
    gate = Gate()
    with Elsewhere(gate) as other:
        threading.Timer(0.1, other.goes_on.set).start()
        assert in_a_child(lambda: not gate._inside)
        assert not gate._inside  # the fork came after it
    with gate(), gate():  # of one's own there is no waiting, in either process
        assert in_a_child(lambda: len(gate._inside) == 1)
    with Elsewhere(gate):
        assert len(gate._inside) == 1


@posix
def test_a_fork_does_not_wait_for_ever(monkeypatch):
    monkeypatch.setattr(forks, "PATIENCE", 0.1)
    gate = Gate()
    with Elsewhere(gate):
        assert in_a_child(lambda: not gate._inside and takes_gate(gate))
    assert takes_gate(gate)


def takes_gate(gate: Gate) -> bool:
    with gate():
        return True


@posix
def test_a_limit_whose_user_stayed_behind_is_lifted_in_the_child():
    log = []

    class Limit:
        def __enter__(self):
            log.append("set")

        def __exit__(self, *_):
            log.append("lifted")

    limit = SharedLimit(Limit)

    def check():
        with limit():
            pass
        return log == ["set", "lifted"]

    with Elsewhere(limit):
        assert in_a_child(check)
        assert log == ["set"]
    assert log == ["set", "lifted"]


def test_a_kept_property_is_worked_out_once():
    class Some:
        """Counts."""

        calls = 0

        @kept_property
        def value(self) -> int:
            """What it is."""
            self.calls += 1
            return self.calls

    some = Some()
    assert (some.value, some.value, Some().value) == (1, 1, 1)
    assert Some.value.__doc__ == "What it is."
    some.value = 5
    assert some.value == 5


#: What keeps others waiting, and so must not be taken along by a fork.
WAITED_FOR = {"Lock", "RLock", "Condition", "Semaphore", "BoundedSemaphore", "Barrier", "cached_property"}

#: Where a lock of the standard library stands nevertheless.
ALLOWED = {
    ("forks.py", "Lock"),  # what this is about
    ("images/pillow.py", "RLock"),  # of Pillow's settings, made anew in a child with them
}


def test_nobody_else_makes_locks():
    found = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            module = isinstance(node, ast.ImportFrom) and node.module
            if module in ("threading", "functools", "multiprocessing"):
                found |= {(path.relative_to(PACKAGE).as_posix(), alias.name) for alias in node.names}
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("threading", "functools"):
                found.add((path.relative_to(PACKAGE).as_posix(), node.attr))
    assert {(file, name) for file, name in found if name in WAITED_FOR} <= ALLOWED
