"""What every command line of the project stands in: statuses, one line for each error and warning, clean endings."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from typing import Any, NoReturn

from npconv.cli.output import write
from npconv.cli.signals import INTERRUPTED, ending_on_signals
from npconv.errors import NpconvError, NpconvWarning
from npconv.files.locks import FULL, why_not_written
from npconv.messages import escape

#: The last as a shell calls it; those of signals are in ``signals``.
DONE, FAILED_IN_PART, UNUSABLE, PIPE_CLOSED = 0, 1, 2, 141


#: What to do where memory ends.
NO_MEMORY = "end other programs, or give smaller pictures, fewer at once, or a smaller model"


class UsageError(NpconvError):
    """The arguments of a call make no sense."""


class Parser(argparse.ArgumentParser):
    """A parser whose errors are exceptions, so that they end as one line like all others."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter)
        self.add_argument("--debug", action="store_true", help="show where an error comes from")

    def error(self, message: str) -> NoReturn:
        """Raise what argparse would print with the whole usage."""
        raise UsageError(f"{message}; see {self.prog} --help")


def positive(text: str) -> int:
    """Return a whole number of at least 1, or say what was expected."""
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text)):
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return int(text)


class LazyChoices:
    """The values of an option, found when they are needed: other commands do not load what knows them."""

    def __init__(self, find: Callable[[], Collection[str]]) -> None:
        self._find = find

    def __contains__(self, value: object) -> bool:
        return value in self._find()

    def __iter__(self) -> Iterator[str]:
        return iter(self._find())


def run_program(name: str, run: Callable[[], int], *, debug: bool) -> int:
    """Run a program and return its exit status; every error and warning becomes one line on stderr.

    The lines begin with its `name`. `run` does the work and returns the status if all goes well; with `debug`, an error
    shows where it comes from.
    """

    def show_warning(message: Any, *_: Any, **__: Any) -> None:
        _report(f"{name}: warning: {message}", debug=False)

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always", NpconvWarning)
            warnings.showwarning = show_warning
            with ending_on_signals():
                status = run()
        write(sys.stdout, "", flush=True)
    except KeyboardInterrupt as interruption:
        _report("; ".join([f"{name}: interrupted", *map(str, interruption.args)]), debug=False)
        return INTERRUPTED
    except BrokenPipeError:
        _settle_stdout()
        return PIPE_CLOSED
    except NpconvError as error:
        _report(f"{name}: error: {error}", debug=debug and not isinstance(error, UsageError))
        return UNUSABLE
    except OSError as error:
        if error.errno not in FULL:
            _report_unexpected(name, error, debug)
        else:
            _report(f"{name}: error: the output cannot be written: {why_not_written(error)}", debug=debug)
        return UNUSABLE
    except MemoryError as error:
        said = f"{error}; " if str(error) else ""
        _report(f"{name}: error: no memory is left ({said}{NO_MEMORY})", debug=debug)
        return UNUSABLE
    except Exception as error:
        _report_unexpected(name, error, debug)
        return UNUSABLE
    return status


def _report_unexpected(name: str, error: Exception, debug: bool) -> None:
    """Write the line of an error that nobody foresaw."""
    hint = "" if debug else "; --debug shows where"
    _report(f"{name}: error: unexpected {type(error).__name__}: {error}{hint}", debug=debug)


def _report(line: str, *, debug: bool) -> None:
    """Write one line to stderr, after what stdout still holds, and with the traceback if asked."""
    _settle_stdout()
    with suppress(OSError):
        if debug:
            write(sys.stderr, traceback.format_exc())
        write(sys.stderr, f"{escape(line)}\n", flush=True)


def _settle_stdout() -> None:
    """Write out what stdout still holds; if that fails, let it go nowhere, or Python fails with it once more."""
    try:
        write(sys.stdout, "", flush=True)
    except OSError:  # the reader went away, the disk is full
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
