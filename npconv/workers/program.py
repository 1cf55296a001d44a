"""The program that this process runs, as far as workers need it: its Python, its paths, and what it defines itself."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
import types
from contextlib import suppress
from typing import Any, NamedTuple

from npconv.errors import InputError, UnavailableError

#: What the user's program is called where it is not the one that was started; as ``multiprocessing`` has it, so that
#: what it defines is found by that name in the process that was.
MAIN = "__mp_main__"

RUN_AGAIN = (
    "a program of which something was sent to a worker is run again there: keep its work under "
    'if __name__ == "__main__":'
)

#: Whether the user's program is being run again, in a worker.
_running_again = False


class Main(NamedTuple):
    """Where the program of a process stands: the name of its module, or its file; neither where there is no such."""

    module: str | None
    file: str | None


def interpreter() -> str:
    """Return the Python that workers run; where there is none, that is an `UnavailableError`."""
    from multiprocessing import spawn  # here, because whoever starts no processes need not wait for it

    found = spawn.get_executable()
    name = os.fsdecode(found) if found else ""
    if not name or (getattr(sys, "frozen", False) and name == sys.executable):
        raise UnavailableError(
            "this program brings a Python of its own, which cannot be started as a worker; use workers=1, or name "
            "another by multiprocessing.set_executable"
        )
    return name


def interpreter_options() -> list[str]:
    """Return the options that this Python was started with, as far as they change what it does."""
    options: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    return options


def paths() -> list[str]:
    """Return where this process imports from, in a form that holds in other folders."""
    with suppress(OSError):  # this folder was removed
        return [os.path.abspath(path) for path in sys.path if isinstance(path, str)]
    return [path for path in sys.path if isinstance(path, str) and os.path.isabs(path)]


def main_of_this_process() -> Main:
    """Return where the program of this process stands."""
    main = sys.modules["__main__"]
    sys.modules.setdefault(MAIN, main)  # for what comes back
    spec, file = getattr(main, "__spec__", None), getattr(main, "__file__", None)
    if spec is not None and spec.name != "__main__" and not spec.name.endswith(".__main__"):
        return Main(spec.name, None)
    if spec is None and file is not None and os.path.isfile(file):
        return Main(None, os.path.abspath(file))
    return Main(None, None)


def stand_in_for(main: Main) -> None:
    """Let ``__main__`` be that of another process, which is run when something of it is first looked for."""
    module = types.ModuleType("__main__")

    def find(name: str) -> Any:
        if name.startswith("__") or _running_again:
            raise AttributeError(name)
        _run_again(main, module, name)
        return getattr(module, name)

    module.__getattr__ = find  # type: ignore[method-assign]
    sys.modules["__main__"] = sys.modules[MAIN] = module


def _run_again(main: Main, module: types.ModuleType, name: str) -> None:
    """Run a program for what it defines."""
    global _running_again
    if main == Main(None, None):
        raise InputError(
            f"{name} is defined in a program that workers cannot import (standard input, python -c, a notebook, an "
            "archive); define it in a file and import it, or use workers=1"
        )
    _running_again = True
    try:
        if main.module is not None:
            content = runpy.run_module(main.module, run_name=MAIN, alter_sys=True)
        else:
            content = runpy.run_path(str(main.file), run_name=MAIN)
    except SystemExit as error:
        raise UnavailableError(RUN_AGAIN) from error
    finally:
        _running_again = False
    del module.__getattr__
    module.__dict__.update(content)


def is_run_again() -> bool:
    """Tell whether this process runs the user's program for what it defines: a worker, or one of multiprocessing."""
    known = sys.modules.get("multiprocessing.process")
    return _running_again or bool(known and getattr(known.current_process(), "_inheriting", False))
