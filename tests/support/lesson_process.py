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
from functools import wraps
from pathlib import Path
from typing import Any

RUN_TIME = {"numpy", "scipy", "PIL", "npconv"}
#: Of the lessons themselves.
BESIDE = {"showing", "small_models", "cups", "exercises", "solutions", "port"}
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


def backward_functions() -> dict[str, Callable[..., Any]]:
    """Return the way back through each layer, and through what is a plan's own."""
    from npconv import gradients
    from npconv.plan.operations_backward import BACKWARD

    own = {function.__name__: function for function in BACKWARD.values()}
    return own | {name: getattr(gradients, name) for name in gradients.__all__}


def replace_functions(change: Callable[[str, Callable[..., Any]], Callable[..., Any]]) -> None:
    """Replace every function of npconv.layers, and every backward function, wherever it was imported to."""
    import npconv
    from npconv import layers
    from npconv.gradients.activations import _BACKWARD
    from npconv.plan.operations import FORWARD, OPERATIONS

    for module in pkgutil.walk_packages(npconv.__path__, "npconv."):
        if not module.name.endswith("__main__") and ".recorders" not in module.name:
            try:
                importlib.import_module(module.name)
            except ImportError:
                continue  # needs an extra
    functions = {name: value for name in layers.__all__ if callable(value := getattr(layers, name))}
    for name, function in backward_functions().items():
        if hasattr(function, "gives"):
            replace_decorated(function, name, change)
        else:
            functions[name] = function
    new = {id(function): change(name, function) for name, function in functions.items()}
    for name, module_ in list(sys.modules.items()):
        if name.partition(".")[0] == "npconv":
            for attribute, value in list(vars(module_).items()):
                if callable(value) and id(value) in new:
                    setattr(module_, attribute, new[id(value)])
    for table in (layers.ACTIVATIONS, FORWARD, OPERATIONS):
        table.update({name: new[id(value)] for name, value in table.items() if id(value) in new})
    for function in list(_BACKWARD):
        _BACKWARD[new.get(id(function), function)] = _BACKWARD.pop(function)


def replace_decorated(
    call: Callable[..., Any], name: str, change: Callable[[str, Callable[..., Any]], Callable[..., Any]]
) -> None:
    """Replace what stands under ``gradient_of``, in its place: tables and rules have taken the decorated function."""
    closure: Any = call.__closure__  # type: ignore[attr-defined]
    cell = dict(zip(call.__code__.co_freevars, closure, strict=True))["function"]
    cell.cell_contents = change(name, cell.cell_contents)


def broken(result: Any) -> Any:
    """Return a result that is five percent too large, a count by one; of what returns a function, such a function."""
    if isinstance(result, tuple):
        return tuple(map(broken, result))
    if callable(result):
        return lambda *args, **kwargs: broken(result(*args, **kwargs))
    if hasattr(result, "dtype") and result.dtype.kind == "i":
        return result + 1
    return result * result.dtype.type(1.05) if hasattr(result, "dtype") else result * 1.05


def break_function(wanted: str) -> None:
    """Break one function of npconv.layers, or a backward function."""

    def change(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def wrong(*args: Any, **kwargs: Any) -> Any:
            return broken(function(*args, **kwargs))

        return wrong if name == wanted else function

    replace_functions(change)


def count_calls() -> Counter[str]:
    """Count the calls of each function of npconv.layers, and of each backward function, from now on."""
    calls: Counter[str] = Counter()

    def change(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def counted(*args: Any, **kwargs: Any) -> Any:
            calls[name] += 1
            return function(*args, **kwargs)

        return counted

    replace_functions(change)
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
        break_function(arguments.broken)
    elif arguments.count:
        calls = count_calls()
    else:
        block()
    with showing.show_on(print):
        runpy.run_path(str(arguments.lesson), run_name="__main__")
    if arguments.count:
        print(json.dumps(calls))


if __name__ == "__main__":
    main()
