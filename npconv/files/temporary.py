"""Folders among the temporary files that do not outlive their process for long.

A folder is locked by the process that made it, and a lock dies with its process, however that one ends. Whoever makes
the next folder removes those that nobody holds any more.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from npconv.errors import UnavailableError
from npconv.files.locks import is_at, take_lock
from npconv.forks import in_child

#: On Windows a folder cannot be locked, and none is cleared away for others.
CAN_LOCK = hasattr(os, "O_DIRECTORY")

#: Folders with such names are npconv's, and cleared away if nobody holds them.
PREFIX = "npconv-held-"
_NAME = re.compile(re.escape(PREFIX) + r"[0-9a-f]{16}")

#: How often a folder is made that another process cleared away before it was locked.
ATTEMPTS = 100


class TemporaryFolder:
    """A folder of this process: its `path` is known from the beginning, `make` makes it, `remove` removes it.

    It also goes with the object, and at the end of the process. In a forked child it is the parent's.
    """

    def __init__(self) -> None:
        try:
            parent = tempfile.gettempdir()
        except OSError:  # no folder can be written to
            parent = os.curdir
        self.path = Path(parent, f"{PREFIX}{secrets.token_hex(8)}").absolute()
        self._lock: list[int] = []  # the descriptor, once the folder is made
        self.remove: Callable[[], object] = weakref.finalize(self, _remove, self.path, self._lock, os.getpid())
        _folders.add(self)

    def make(self) -> Path:
        """Make the folder, unless it is there, and clear away what dead processes have left; return its path.

        Raises
        ------
        UnavailableError
            If no folder can be made.
        """
        if self._lock:
            return self.path
        clear_away(self.path.parent)
        for _ in range(ATTEMPTS):
            try:
                self.path.mkdir(mode=0o700, exist_ok=True)
            except OSError as error:
                raise UnavailableError(f"no temporary folder can be made ({error}); set TMPDIR to one") from error
            if _hold(self.path, self._lock, else_without=True):
                return self.path
        raise UnavailableError(f"no temporary folder can be kept in {self.path.parent}; set TMPDIR to another place")

    def leave_to_parent(self) -> None:
        """Let go of the lock, in a child: the folder is held as long as the parent lives."""
        while self._lock:
            with suppress(OSError):
                os.close(self._lock.pop())


_folders: weakref.WeakSet[TemporaryFolder] = weakref.WeakSet()


def _leave_all_to_parent() -> None:
    for folder in list(_folders):
        folder.leave_to_parent()


in_child(_leave_all_to_parent)


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Give a temporary folder for a ``with`` block; if none can be made, that is an `UnavailableError`."""
    folder = TemporaryFolder()
    try:
        yield folder.make()
    finally:
        folder.remove()


def clear_away(parent: Path) -> None:
    """Remove the folders that dead processes have left in another."""
    if not CAN_LOCK:
        return
    with suppress(OSError):
        left = [entry.path for entry in os.scandir(parent) if _NAME.fullmatch(entry.name) and _is_own(entry)]
        for path in left:
            held: list[int] = []
            if _hold(Path(path), held):
                shutil.rmtree(path, ignore_errors=True)
                os.close(held[0])


def _is_own(entry: os.DirEntry[str]) -> bool:
    """Tell whether this is a folder, and no link to one, of the user who runs this process."""
    return entry.is_dir(follow_symlinks=False) and entry.stat(follow_symlinks=False).st_uid == os.getuid()


def _hold(path: Path, held: list[int], *, else_without: bool = False) -> bool:
    """Lock a folder and put the descriptor into a list; False if another process has it, or has removed it.

    Where the system has no such locks, nobody can hold a folder; `else_without`, that is as good as a lock.
    """
    if not CAN_LOCK:
        held.append(os.open(os.devnull, os.O_RDONLY))
        return else_without
    with suppress(FileNotFoundError):  # removed
        held.append(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW))
        taken = take_lock(held[-1])
        if (taken and is_at(held[-1], path)) or (taken is None and else_without):
            return True
    while held:
        os.close(held.pop())
    return False


def _remove(folder: Path, held: list[int], maker: int) -> None:
    """Remove a folder, unless this process is a fork of the one that made it."""
    if os.getpid() != maker:
        return
    shutil.rmtree(folder, ignore_errors=True)
    while held:
        os.close(held.pop())
