"""How text leaves the program: on one line where it should be, and in any encoding that the terminal has."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from npconv.errors import InputError
from npconv.files.locks import open_locked, release, unlink_locked, why_not_written
from npconv.messages import escape


def write(stream: TextIO | None, text: str, *, flush: bool = False) -> None:
    """Write text to stdout or stderr; letters that its encoding lacks are escaped.

    The stream is None where it was closed before Python started; nothing happens then. With `flush`, what the stream
    still holds is handed on at once.
    """
    if stream is None:
        return
    encoding = getattr(stream, "encoding", None) or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
    if flush:
        stream.flush()


class Output:
    """Where a command writes its results: standard output, a pipe or device, or a file, which has one writer.

    A new file grows as results come; one that holds something stays as it is until all is there, and then the new one,
    ``PATH.part`` meanwhile, takes its place. With `resume`, what comes is appended to the file, or to a ``PATH.part``
    that was left, behind the bytes that `keep` says. A ``PATH.part`` that `is_own` does not know as that of an earlier
    run is never written over. A file that cannot be written is an `InputError`; what was whole before stays whole, and
    if `resumable`, a part stays, too.
    """

    def __init__(
        self,
        path: str | None,
        *,
        resume: bool = False,
        resumable: bool = False,
        is_own: Callable[[Path], bool] = lambda path: False,
    ) -> None:
        self.path = path
        self.resume = resume
        self.resumable = resumable
        self._is_own = is_own
        self._stream = sys.stdout if path is None else None
        self._lock: FileIO | None = None  # the file itself
        self._file: FileIO | None = None  # where results go: the file itself, or the part
        self._whole = 0  # bytes of the part that are complete
        self._is_new = False

    def __enter__(self) -> Output:
        if self.path is not None and (not os.path.exists(self.path) or os.path.isfile(self.path)):
            with self._named_errors():
                self._open(Path(os.path.realpath(self.path)))
        return self

    def _open(self, place: Path) -> None:
        """Lock the file, and decide where results go."""
        self._place, self._part = place, Path(f"{place}.part")
        self._is_new = not os.path.lexists(place)
        lock = self._lock = self._file = open_locked(place)
        try:
            is_empty = os.fstat(lock.fileno()).st_size == 0
            is_left = self._is_left()
            if is_left if self.resume else not is_empty:
                if os.path.lexists(self._part) and not is_left:
                    raise InputError(
                        f"{escape(str(self._part))}: another program wrote it; move it, or write elsewhere"
                    )
                flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0)
                self._file = FileIO(os.open(self._part, flags, 0o666), "r+")
            elif is_left:
                self._part.unlink()
            if not self.resume:
                self.keep(0)
        except BaseException:
            self._let_go(lock)
            raise

    def _is_left(self) -> bool:
        """Tell whether there is a part of an earlier run; what a link names may be anyone's."""
        part = self._part
        return part.is_file() and not part.is_symlink() and (part.stat().st_size == 0 or self._is_own(part))

    @property
    def source(self) -> str:
        """The name of the file that is gone on with."""
        return f"{self.path}" if self._file is self._lock else str(self._part)

    def content(self) -> BinaryIO:
        """Return what a file to be gone on with holds."""
        if self._file is None:
            return io.BytesIO()
        self._file.seek(0)
        return open(self._file.fileno(), "rb", closefd=False)

    def keep(self, size: int) -> None:
        """Cut a file off behind its first `size` bytes, and go on there."""
        if self._file is not None:
            self._file.truncate(size)
            self._file.seek(size)
        self._whole = size

    def write(self, text: str) -> None:
        """Write text: whole lines, all of it or nothing."""
        with self._named_errors():
            if self._file is None:
                if self._stream is None and self.path is not None:
                    self._stream = open(self.path, "w", encoding="utf-8", newline="")  # noqa: SIM115 - `__exit__` does
                write(self._stream, text)
                return
            rest = memoryview(text.encode("utf-8", "backslashreplace"))
            size = self._whole + len(rest)
            try:
                while rest:
                    rest = rest[self._file.write(rest) :]
            except OSError:
                with suppress(OSError):
                    self.keep(self._whole)
                raise
            self._whole = size

    def flush(self) -> None:
        """Hand on what is written, so that it is there whatever happens to this process."""
        if self._file is None:
            with self._named_errors():
                write(self._stream, "", flush=True)

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        """Say of a file that cannot be written which one it is."""
        try:
            yield
        except OSError as error:
            if self.path is None:
                raise
            raise InputError(f"{escape(self.path)}: cannot be written: {why_not_written(error)}") from error

    def __exit__(self, kind: type[BaseException] | None, *_: Any) -> None:
        if self._lock is not None:
            with self._named_errors():
                self._settle(self._lock, is_done=kind is None)
        elif self.path is not None and self._stream is not None:
            with suppress(OSError):  # told when it was flushed
                self._stream.close()

    def _settle(self, lock: FileIO, *, is_done: bool) -> None:
        """Give a part its place if all is in it, and let go of the file."""
        try:
            if self._file is not lock and is_done and self._whole:
                import shutil  # only here and below: it loads what packs and unpacks

                with suppress(OSError):
                    shutil.copymode(self._place, self._part)
                if sys.platform == "win32":  # there, an open file cannot be replaced
                    self._let_go(lock)
                os.replace(self._part, self._place)
            elif self._file is not lock and not self.resume and not (self._whole and self.resumable):
                self._part.unlink(missing_ok=True)
        finally:
            self._let_go(lock)

    def _let_go(self, lock: FileIO) -> None:
        """Close the files; one that was made for nothing is gone."""
        if self._file is not None and self._file is not lock:
            self._file.close()
        if self._is_new and not lock.closed and os.fstat(lock.fileno()).st_size == 0:
            unlink_locked(lock, self._place)
        release(lock)


def to_json(value: Any, *, indent: int | None = None) -> str:
    """Return `value` as JSON in ASCII letters; a number that JSON lacks (NaN, infinity) becomes text."""
    plain = json.loads(json.dumps(value), parse_constant=str)
    return json.dumps(plain, indent=indent)


def screen_width() -> int:
    """Return the columns of the terminal, 80 where there is none, within what is easy to read."""
    import shutil

    return min(max(shutil.get_terminal_size().columns, 60), 120)


def table(rows: Sequence[Sequence[str]], *, right: Sequence[int] = (), gap: int = 2, indent: int = 0) -> list[str]:
    """Return rows of text as lines with aligned columns, those of `right` to the right, `gap` spaces between them.

    Each row has as many cells as the first; a row with a single cell is a line of its own, whatever its width.
    """
    widths = [max(map(len, column)) for column in zip(*(row for row in rows if len(row) > 1), strict=True)]
    lines = []
    for row in rows:
        cells = row
        if len(row) > 1:
            padded = enumerate(zip(row, widths, strict=True))
            cells = [cell.rjust(width) if i in right else cell.ljust(width) for i, (cell, width) in padded]
        lines.append((" " * indent + (" " * gap).join(cells)).rstrip())
    return lines
