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


#: Signal -> what it raises.
ENDS: dict[int, Callable[[], BaseException]] = {
    signal.SIGINT: KeyboardInterrupt,
    signal.SIGTERM: lambda: SystemExit(TERMINATED),
    **({signal.SIGHUP: lambda: SystemExit(HUNG_UP)} if hasattr(signal, "SIGHUP") else {}),
}


@contextmanager
def ending_on_signals() -> Iterator[None]:
    """Let Ctrl-C raise KeyboardInterrupt in the ``with`` block, SIGTERM and SIGHUP SystemExit.

    Signals that follow do nothing. Not in the middle of an import: extension modules make another error of it, or
    swallow it, as Python does where it calls ``__del__``. There it waits for a better moment.
    """
    if threading.current_thread() is not threading.main_thread():  # only there do signals arrive
        yield
        return
    signals = _Signals()
    try:
        _handle(signals.caught, signals.end)
        yield
        if signals.pending:
            raise ENDS[signals.pending[0]]()
    finally:
        signals.give_back()


class _Signals:
    """What becomes of signals while a command runs."""

    def __init__(self) -> None:
        self.caught = [number for number in ENDS if signal.getsignal(number) is not signal.SIG_IGN]  # as under nohup
        self._before: dict[int, Any] = {number: signal.getsignal(number) for number in self.caught}
        self.pending: list[int] = []  #: those that have not ended anything yet
        self._ended: list[int] = []
        if hasattr(signal, "SIGALRM"):
            self._before[signal.SIGALRM] = signal.signal(signal.SIGALRM, self._look_again)
        self._hook, sys.unraisablehook = sys.unraisablehook, self._swallowed

    def end(self, number: int, frame: FrameType | None) -> None:
        """Raise what a signal raises, or put it off."""
        self.pending.append(number)
        if _is_importing(frame) and _look_later():
            return
        _handle(self.caught, signal.SIG_IGN)  # a second one must not end the cleaning up
        self._ended.append(self.pending[0])
        self.pending.clear()
        raise ENDS[self._ended[0]]()

    def _look_again(self, _: int, frame: FrameType | None) -> None:
        """See whether the moment is better now."""
        if self.pending:
            self.end(self.pending[0], frame)

    def _swallowed(self, unraisable: Any) -> None:
        """Take back an exception that came where Python can raise none."""
        if isinstance(unraisable.exc_value, KeyboardInterrupt | SystemExit) and self._ended:
            self.pending.append(self._ended.pop())
            _look_later()
        else:
            self._hook(unraisable)

    def give_back(self) -> None:
        """Leave signals as they were."""
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        sys.unraisablehook = self._hook


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
