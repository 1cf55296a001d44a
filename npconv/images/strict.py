"""Pillow without its warnings and its tolerance, and its failures as errors of this project.

Both settings belong to the whole process, so threads that decode at the same time share the change: the first one
makes it, the last one takes it back. No lock is held while a picture is decoded, and a forked child begins anew.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, cast

from PIL import ImageFile

from npconv.errors import NpconvError
from npconv.images.failures import error_of


class _Here(threading.local):
    """How many sections this thread is in; as a filter of warnings, what matches every module while it is in one."""

    depth = 0

    def match(self, _module: str) -> bool:
        """Tell whether this thread decodes: the warnings of the other threads are theirs."""
        return self.depth > 0


class _Settings:
    """Pillow's settings in this process: taken over while any thread decodes."""

    def __init__(self) -> None:
        self.lock = threading.RLock()  # held for a few instructions; a signal handler may decode too
        self.sections = 0
        self.tolerant = False
        self.here = _Here()
        self.filter: Any = ("ignore", None, Warning, self.here, 0)

    def take(self) -> None:
        """Begin a section of this thread."""
        with self.lock:
            self.here.depth += 1
            self.sections += 1
            if self.sections == 1:
                self.tolerant = ImageFile.LOAD_TRUNCATED_IMAGES
                ImageFile.LOAD_TRUNCATED_IMAGES = False
            filters = cast("list[Any]", warnings.filters)
            if not filters or filters[0] is not self.filter:  # another filter came before it in the meantime
                filters.insert(0, self.filter)

    def give_back(self) -> None:
        """End a section of this thread; the last one of all leaves everything as it was."""
        with self.lock:
            self.here.depth -= 1
            self.sections -= 1
            if self.sections == 0:
                self.restore()

    def restore(self) -> None:
        """Set what was set before the first section."""
        ImageFile.LOAD_TRUNCATED_IMAGES = self.tolerant
        filters = cast("list[Any]", warnings.filters)
        with suppress(ValueError):
            while True:
                filters.remove(self.filter)

    def begin_anew(self) -> None:
        """Forget the sections of threads that a fork left behind, and the lock that one of them may have held."""
        self.lock = threading.RLock()
        if self.sections > self.here.depth:
            self.sections = self.here.depth
            if self.sections == 0:
                self.restore()


_SETTINGS = _Settings()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_SETTINGS.begin_anew)


@contextmanager
def strict_pillow(name: str = "the picture") -> Iterator[None]:
    """Run Pillow without its warnings and without its tolerance of truncated files.

    Anything that it raises is an `ImageError` about the picture that is called `name`; errors of npconv pass.
    """
    _SETTINGS.take()
    try:
        yield
    except NpconvError:
        raise
    except Exception as error:  # Pillow's plugins raise any type on broken bytes
        raise error_of(error, name) from error
    finally:
        _SETTINGS.give_back()
