"""What keeps a forked child from waiting for threads that did not come along.

A fork copies one thread and all of memory: locks stay as they were, and whoever held them is not there. So no lock of
npconv is held across one, and none of its own calls of the BLAS, which has locks of its own, is cut in two.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar, overload

Owner = TypeVar("Owner")
Value = TypeVar("Value")

#: Seconds that a fork waits for calls of other threads to end: a call that itself waits for the fork would never.
PATIENCE = 30.0


class Lock:
    """A lock of this process; a forked child finds it free, whichever thread of its parent held it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        _locks.add(self)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock for a ``with`` block."""
        with self._lock:  # the one that is held is let go, also in a child that was forked within the block
            yield

    def renew(self) -> None:
        """Begin anew, in a child."""
        self._lock = threading.Lock()


_locks: weakref.WeakSet[Lock] = weakref.WeakSet()


def in_child(renew: Callable[[], None]) -> None:
    """Have a function called in every forked child before anything else runs there."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=renew)


def _renew_locks() -> None:
    for lock in list(_locks):
        lock.renew()


in_child(_renew_locks)


class Gate:
    """What a fork waits for: blocks that other threads are in the middle of."""

    def __init__(self) -> None:
        self._entrance = threading.Lock()
        self._inside: set[int] = set()
        self._closed = False
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(before=self._close, after_in_parent=self._open, after_in_child=self._renew)

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Let no other thread fork before the ``with`` block is done."""
        thread = threading.get_ident()
        if thread in self._inside:  # a block within a block: at the entrance it would wait for itself
            yield
            return
        with self._entrance:
            self._inside.add(thread)
        try:
            yield
        finally:
            self._inside.discard(thread)

    def _close(self) -> None:
        """Wait until all others are out, and let nobody in."""
        end = time.monotonic() + PATIENCE
        self._closed = self._entrance.acquire(timeout=PATIENCE)
        while self._inside - {threading.get_ident()} and time.monotonic() < end:
            time.sleep(0.001)

    def _open(self) -> None:
        """Go on in the process that forked."""
        if self._closed:
            self._closed = False
            self._entrance.release()

    def _renew(self) -> None:
        """Begin in the child, where there is one thread."""
        self._entrance, self._closed = threading.Lock(), False
        self._inside &= {threading.get_ident()}


#: ``with whole_to_forks():`` around what a forked child could not go on with, if it were cut in the middle.
whole_to_forks = Gate()


class kept_property(Generic[Value]):  # noqa: N801 - named as what it stands for, functools.cached_property
    """``functools.cached_property`` without the lock that it has before Python 3.12."""

    def __init__(self, function: Callable[[Any], Value]) -> None:
        self._function = function
        self.__doc__ = function.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> kept_property[Value]: ...
    @overload
    def __get__(self, instance: object, owner: type) -> Value: ...
    def __get__(self, instance: Any, owner: type) -> Any:
        """Return what the function returned the first time, which becomes an attribute of the instance."""
        if instance is None:
            return self
        return instance.__dict__.setdefault(self._name, self._function(instance))
