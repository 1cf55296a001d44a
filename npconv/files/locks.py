"""One writer at a time, by locks that die with their process; and what dead processes left is cleared away.

A file or folder that is being written is claimed by an empty file beside it, ``.npconv-HASH.lock``, that is locked; a
folder is made as ``.npconv-HASH.tmp`` and then moved. A file is written as ``.npconv-RANDOM.tmp``, locked as well, and
then replaces the old one. So whatever has such a name and no lock belongs to nobody who lives.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import BinaryIO

from npconv.errors import InputError, NpconvWarning, WeightsError
from npconv.messages import quoted

_LEFT = re.compile(r"\.npconv-[0-9a-f]{16}\.(tmp|lock)")

#: Seconds for which a lock is tried before it counts as taken: who clears away a dead process's file holds it briefly.
_PATIENCE = 0.3
_PAUSE = 0.01

#: Windows locks bytes, and nobody else can read them then: one that no result reaches.
_LOCKED_BYTE = 2**31 - 2

#: For files of ours: a link in the place of one is not followed, a pipe not waited for.
_FLAGS = sum(getattr(os, name, 0) for name in ("O_BINARY", "O_CLOEXEC", "O_NOFOLLOW", "O_NONBLOCK"))

#: Of a disk without space, for this user or for so large a file.
FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC), errno.EFBIG)

#: What stops a file from being written -> what to do about it.
_ADVICE = {
    **dict.fromkeys(FULL, "free some space, or write to another disk"),
    **dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM), "give a folder that you may write to"),
    **dict.fromkeys((errno.ENOENT, errno.ENOTDIR), "make the folder first, or check the path"),
    errno.ENAMETOOLONG: "give a shorter name",
    errno.EISDIR: "give the name of a file",
}


def why_not_written(error: Exception) -> str:
    """Return why something cannot be written, and what to do."""
    reason = getattr(error, "strerror", None) or str(error)
    number = getattr(error, "errno", None)
    return f"{reason}; {_ADVICE.get(number or 0, 'check the path and the free space')}"


def is_left(name: str) -> bool:
    """Tell whether a file's name is that of a claim or of something unfinished."""
    return _LEFT.fullmatch(name) is not None


def take_lock(descriptor: int) -> bool | None:
    """Lock an open file; False if someone else has it locked, None if there are no locks on this disk or system."""
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except ImportError:  # in a browser, which has no other processes either
        return None
    except OSError as error:
        return False if error.errno in (errno.EAGAIN, errno.EACCES, errno.EDEADLK) else None
    return True


def is_at(descriptor: int, path: str | os.PathLike[str]) -> bool:
    """Tell whether an open file is still the one at a path: who had the lock before may have removed or replaced it."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def open_locked(path: str | os.PathLike[str], *, wait: bool = False) -> FileIO:
    """Open a file to read and write it as the only one, made if it is not there; nothing in it is changed.

    The lock goes with the file: when it is closed, or the process ends in whatever way. Read it through this object and
    no other: where a disk is far away, closing any other descriptor of the file would end the lock. With `wait`,
    another writer is waited for. A link is not followed: what it names may be anyone's.

    Raises
    ------
    InputError
        If another process writes it.
    OSError
        If it cannot be opened.
    """
    end = time.monotonic() + _PATIENCE
    while True:
        flags = os.O_RDWR | os.O_CREAT | _FLAGS
        descriptor = os.open(path, flags, 0o666)
        try:
            taken = take_lock(descriptor)
            if taken is not False and is_at(descriptor, path):
                file = FileIO(descriptor, "r+")
                descriptor = -1
                if taken is None:
                    _warn_of_no_locks(path)
                return file
        finally:
            if descriptor >= 0:
                os.close(descriptor)
        if taken is False:
            if not wait and time.monotonic() > end:
                raise busy(path)
            time.sleep(_PAUSE)


def _warn_of_no_locks(path: str | os.PathLike[str]) -> None:
    if sys.platform != "emscripten":
        message = f"{quoted(path)}: this disk has no locks; let no two calls write the same file at the same time"
        warnings.warn(message, NpconvWarning, stacklevel=4)


def busy(path: str | os.PathLike[str]) -> InputError:
    """Return the error for what another process writes."""
    return InputError(f"{quoted(path)} is being written by another process; wait until it is done, or write elsewhere")


def release(file: FileIO) -> None:
    """Let go of a locked file, also where a fork of this process still has it open."""
    if sys.platform not in ("win32", "emscripten") and not file.closed:
        import fcntl

        with suppress(OSError):
            fcntl.flock(file.fileno(), fcntl.LOCK_UN)
    file.close()


def unlink_locked(file: FileIO, path: str | os.PathLike[str]) -> None:
    """Remove a locked file, unless another has taken its place, and let go of it."""
    is_there = is_at(file.fileno(), path)
    if sys.platform == "win32":  # there, an open file cannot be removed
        file.close()
    if is_there:
        with suppress(OSError):
            os.unlink(path)
    release(file)


@contextmanager
def temporary_file(folder: Path) -> Iterator[BinaryIO]:
    """Give a new file in a folder, to be renamed within the block; afterwards it is gone if it was not.

    Raises
    ------
    OSError
        If there can be none.
    """
    sweep(folder)
    while True:
        path = folder / f".npconv-{os.urandom(8).hex()}.tmp"
        # Not tempfile: its files are readable by the owner alone, and the result would stay so.
        file = path.open("xb")
        if sys.platform == "win32" or (take_lock(file.fileno()) is not False and is_at(file.fileno(), path)):
            break
        file.close()  # someone cleared it away before it was locked
    with file:
        try:
            yield file
        finally:
            if sys.platform == "win32":
                file.close()
            path.unlink(missing_ok=True)


@contextmanager
def claimed(path: str | os.PathLike[str], *, wait: bool = False) -> Iterator[Path]:
    """Be the only one who writes the file or folder at `path`, by whatever name it is called.

    Gives the path of a folder on the same disk that may be made and written in; it is gone afterwards, with what is
    still in it.

    Raises
    ------
    InputError
        If another process writes there and is not waited for (`wait`).
    WeightsError
        If nothing can be written there.
    """
    import hashlib  # only here, as the libraries behind these take a while to load
    import shutil

    try:
        target = Path(os.path.realpath(path))
        folder = target
        while not folder.is_dir():
            if folder != target and os.path.lexists(folder):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
            folder = folder.parent
        name = str(target).casefold() if sys.platform in ("win32", "darwin") else str(target)
        stem = f".npconv-{hashlib.sha256(os.fsencode(name)).hexdigest()[:16]}"
        lock, made = folder / f"{stem}.lock", folder / f"{stem}.tmp"
        file = open_locked(lock, wait=wait)
    except InputError:
        raise busy(path) from None
    except (OSError, ValueError) as error:  # a zero byte in the name
        raise WeightsError(f"cannot write {quoted(path)}: {why_not_written(error)}") from error
    try:
        shutil.rmtree(made, ignore_errors=True)
        sweep(folder)
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)
        unlink_locked(file, lock)


@contextmanager
def staged(directory: str | os.PathLike[str], *, wait: bool = False) -> Iterator[Path]:
    """Claim a folder and give an empty one, to be filled and then moved there by `publish`; errors as of `claimed`."""
    with claimed(directory, wait=wait) as staging:
        try:
            staging.mkdir()
        except OSError as error:
            raise WeightsError(f"cannot write {quoted(directory)}: {why_not_written(error)}") from error
        yield staging


def publish(staging: Path, directory: Path, last: str) -> None:
    """Move what has been staged: the whole folder in one step, or file by file if the folder is there already.

    The file named `last` speaks of the others: the old one goes first, and the new one comes when the others are there.

    Raises
    ------
    OSError, ValueError
        If something cannot be moved.
    """
    if not os.path.lexists(directory):
        directory.absolute().parent.mkdir(parents=True, exist_ok=True)
        os.rename(staging, directory)
        return
    (directory / last).unlink(missing_ok=True)
    for root, _, names in sorted(os.walk(staging), reverse=True):  # its own files after those of the folders in it
        place = directory / os.path.relpath(root, staging)
        place.mkdir(parents=True, exist_ok=True)
        for name in sorted(names, key=lambda name: (name == last, name)):
            os.replace(os.path.join(root, name), place / name)


def sweep(folder: str | os.PathLike[str]) -> None:
    """Remove what processes that are dead have left in a folder; whatever cannot be removed stays."""
    with suppress(OSError), os.scandir(folder) as entries:
        for name in [entry.name for entry in entries if is_left(entry.name)]:
            with suppress(OSError):
                _remove_if_dead(Path(folder, name))


def _remove_if_dead(path: Path) -> None:
    """Remove a file without a lock; with a claim, the folder that was made under it."""
    if not stat.S_ISREG(os.lstat(path).st_mode):  # a folder goes with its claim
        return
    descriptor = os.open(path, os.O_RDWR | _FLAGS)
    try:
        if not take_lock(descriptor) or not is_at(descriptor, path):
            return
        if path.suffix == ".lock":
            import shutil

            shutil.rmtree(path.with_suffix(".tmp"), ignore_errors=True)
        if sys.platform != "win32":
            os.unlink(path)
    finally:
        os.close(descriptor)
    if sys.platform == "win32":  # there, an open file cannot be removed
        path.unlink(missing_ok=True)
