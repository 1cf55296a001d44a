"""Signals that end a command, as exceptions: so that what it has begun is cleared away."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

#: As a shell calls the statuses of processes that a signal ended.
INTERRUPTED, TERMINATED, HUNG_UP = 130, 143, 129

#: Seconds after which a signal is looked at again that came at a bad moment.
LATER = 0.02


@contextmanager
def ending_on_signals() -> Iterator[None]:
    """Let Ctrl-C raise KeyboardInterrupt in the ``with`` block, SIGTERM and SIGHUP SystemExit.

    Signals that follow do nothing. Not in the middle of an import: extension modules make another error of it, or
    swallow it, as Python does where it calls ``__del__``. There it waits for a better moment.
    """
    if threading.current_thread() is not threading.main_thread():  # only there do signals arrive
        yield
        return
    ends: dict[int, Callable[[], BaseException]] = {signal.SIGINT: KeyboardInterrupt}
    ends[signal.SIGTERM] = lambda: SystemExit(TERMINATED)
    if hasattr(signal, "SIGHUP"):
        ends[signal.SIGHUP] = lambda: SystemExit(HUNG_UP)
    caught = [number for number in ends if signal.getsignal(number) is not signal.SIG_IGN]  # as under nohup
    before: dict[int, Any] = {number: signal.getsignal(number) for number in caught}
    pending: list[int] = []  #: signals that came, and have not ended anything yet
    ended: list[int] = []

    def end(number: int, frame: FrameType | None) -> None:
        pending.append(number)
        if _is_importing(frame) and _look_later():
            return
        _handle(caught, signal.SIG_IGN)  # a second one must not end the cleaning up
        ended.append(pending[0])
        pending.clear()
        raise ends[ended[0]]()

    def swallowed(unraisable: Any) -> None:
        if isinstance(unraisable.exc_value, KeyboardInterrupt | SystemExit) and ended:
            pending.append(ended.pop())
            _look_later()
        else:
            hook(unraisable)

    def look(_: int, frame: FrameType | None) -> None:
        if pending:
            end(pending[0], frame)

    hook, sys.unraisablehook = sys.unraisablehook, swallowed
    if hasattr(signal, "SIGALRM"):
        before[signal.SIGALRM] = signal.signal(signal.SIGALRM, look)
    try:
        _handle(caught, end)
        yield
        if pending:
            raise ends[pending[0]]()
    finally:
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)
        sys.unraisablehook = hook


def _handle(numbers: list[int], handler: Any) -> None:
    """Let some signals have a handler."""
    for number in numbers:
        signal.signal(number, handler)


def _look_later() -> bool:
    """Ask to be woken in a moment; False where the system cannot."""
    if not hasattr(signal, "setitimer"):
        return False
    signal.setitimer(signal.ITIMER_REAL, LATER)
    return True


def _is_importing(frame: FrameType | None) -> bool:
    """Tell whether a frame is called by an import."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
