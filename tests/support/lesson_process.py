"""A process that runs one lesson under some restriction: ``python lesson_process.py LESSON [--break F] [--count]``.

Without an option, sockets and all packages that npconv does not need at run time are blocked.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.abc
import json
import pkgutil
import runpy
import socket
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

RUN_TIME = {"numpy", "scipy", "PIL", "npconv"}
#: Of the lessons themselves.
BESIDE = {"showing", "plots", "small_models", "exercises", "solutions", "port"}
#: What pip and setuptools leave in every environment; lessons that need more would fail in an empty one.
BLOCKED_OTHERWISE = "is not installed for a lesson"


class OnlyRunTime(importlib.abc.MetaPathFinder):
    """Finds nothing, and refuses what is neither of the standard library nor a dependency at run time."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        """Raise for packages that a fresh environment lacks."""
        package = name.partition(".")[0]
        is_own = package in RUN_TIME | BESIDE or package in sys.stdlib_module_names
        if not is_own and not package.startswith(("__", "_sysconfigdata")):
            raise ModuleNotFoundError(f"{package} {BLOCKED_OTHERWISE}", name=package)


def block() -> None:
    """Leave only the standard library and the dependencies at run time, and no way out of this process by sockets."""
    sys.meta_path.insert(0, OnlyRunTime())

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError("a lesson opens no socket")

    socket.socket.connect = refuse  # type: ignore[method-assign]
    socket.create_connection = refuse  # type: ignore[assignment]
    socket.getaddrinfo = refuse  # type: ignore[assignment]


def replace_layers(change: Callable[[str, Callable[..., Any]], Callable[..., Any]]) -> None:
    """Replace every function of npconv.layers, wherever it was imported to."""
    import npconv
    from npconv import layers

    for module in pkgutil.walk_packages(npconv.__path__, "npconv."):
        if not module.name.endswith("__main__") and ".recorders" not in module.name:
            try:
                importlib.import_module(module.name)
            except ImportError:
                continue  # needs an extra
    functions = {name: value for name in layers.__all__ if callable(value := getattr(layers, name))}
    new = {id(function): change(name, function) for name, function in functions.items()}
    for name, module_ in list(sys.modules.items()):
        if name.partition(".")[0] == "npconv":
            for attribute, value in list(vars(module_).items()):
                if callable(value) and id(value) in new:
                    setattr(module_, attribute, new[id(value)])
    for name, value in layers.ACTIVATIONS.items():
        layers.ACTIVATIONS[name] = new.get(id(value), value)


def broken(result: Any) -> Any:
    """Return a result that is five percent too large; of a function that returns a function, such a function."""
    if isinstance(result, tuple):
        return tuple(map(broken, result))
    if callable(result):
        return lambda *args, **kwargs: broken(result(*args, **kwargs))
    return result * result.dtype.type(1.05) if hasattr(result, "dtype") else result * 1.05


def break_layer(wanted: str) -> None:
    """Break one function of npconv.layers."""

    def change(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        return (lambda *args, **kwargs: broken(function(*args, **kwargs))) if name == wanted else function

    replace_layers(change)


def count_layers() -> Counter[str]:
    """Count the calls of each function of npconv.layers from now on."""
    calls: Counter[str] = Counter()

    def change(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            calls[name] += 1
            return function(*args, **kwargs)

        return counted

    replace_layers(change)
    return calls


def main() -> None:
    """Run a lesson as a script is run."""
    parser = argparse.ArgumentParser()
    parser.add_argument("lesson", type=Path)
    parser.add_argument("--break", dest="broken", metavar="FUNCTION")
    parser.add_argument("--count", action="store_true")
    arguments = parser.parse_args()
    sys.path.insert(0, str(arguments.lesson.parent))
    import showing

    calls: Counter[str] = Counter()
    if arguments.broken:
        break_layer(arguments.broken)
    elif arguments.count:
        calls = count_layers()
    else:
        block()
    with showing.show_on(print):
        runpy.run_path(str(arguments.lesson), run_name="__main__")
    if arguments.count:
        print(json.dumps(calls))


if __name__ == "__main__":
    main()
