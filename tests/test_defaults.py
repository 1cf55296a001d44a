"""What an argument is that a call leaves out: callers rely on it, so it changes on purpose only.

PYTHONPATH=.:tests python tests/test_defaults.py     writes ``data/defaults.txt`` anew; look at what changed
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from argparse import ArgumentParser
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import npconv

FILE = Path(__file__).parent / "data" / "defaults.txt"

#: What porters copy, what is wrong on purpose, classes that are made when they are asked for, and programs.
LEFT_OUT = ("npconv.golden.recorders.", "npconv.golden.mistakes.", "npconv.zoo", "npconv.api.families", "__main__")


def modules() -> Iterator[Any]:
    """Give out the modules that ship."""
    for found in pkgutil.walk_packages(npconv.__path__, "npconv."):
        if not found.name.startswith(LEFT_OUT[:-1]) and not found.name.endswith(LEFT_OUT[-1]):
            yield importlib.import_module(found.name)


def functions(module: Any) -> Iterator[tuple[str, Any]]:
    """Give out the functions, classes and methods of a module that have no name of its own use only."""
    for name, value in vars(module).items():
        if name.startswith("_") or getattr(value, "__module__", None) != module.__name__:
            continue
        if inspect.isclass(value):
            if not issubclass(value, Enum | BaseException | ArgumentParser):  # theirs are Python's
                yield name, value
            yield from (
                (f"{name}.{key}", inspect.unwrap(getattr(method, "__func__", method)))
                for key, method in vars(value).items()
                if not key.startswith("_") and inspect.isfunction(inspect.unwrap(getattr(method, "__func__", method)))
            )
        elif inspect.isfunction(value):
            yield name, inspect.unwrap(value)


def lines() -> list[str]:
    """Return each function whose arguments can be left out, with what they are then, if that is a plain value."""
    found = []
    for module in modules():
        for name, function in functions(module):
            try:
                parameters = inspect.signature(function).parameters.values()
            except (TypeError, ValueError):
                continue
            told = {each.name: each.default for each in parameters if _is_plain(each.default)}
            if told:
                said = ", ".join(f"{key}={value!r}" for key, value in told.items())
                found.append(f"{module.__name__}.{name}: {said}")
    return sorted(found)


def _is_plain(value: Any) -> bool:
    """Tell whether something is a number, a truth value or a text, or some of these."""
    if type(value) in (tuple, list):
        return all(map(_is_plain, value))
    return type(value) in (bool, int, float, str)


def test_what_is_left_out_is_what_it_was() -> None:
    assert "\n".join(lines()) == FILE.read_text("utf-8").rstrip("\n")


if __name__ == "__main__":
    FILE.write_text("".join(f"{line}\n" for line in lines()), "utf-8")
