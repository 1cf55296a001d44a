"""Write ``npconv/__init__.pyi``, by which editors and type checkers know what ``import npconv`` brings.

``python -m weights_tools.make_types``. The names come when they are first used, and the classes of the families are
made from their list; a type checker can follow neither, so the file says what they are.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import npconv
from npconv.api import families
from npconv.api.outputs import ModelOutput, model_output

STUB = Path(npconv.__file__).with_suffix(".pyi")
HEAD = '"""What ``import npconv`` brings, for type checkers; made by ``python -m weights_tools.make_types``."""\n'


def text() -> str:
    """Return what the file must hold."""
    imports = {f"from npconv import {package} as {package}" for package in npconv.PACKAGES}
    names, classes = [], []
    for name in npconv.__all__:
        value = getattr(npconv, name)
        home = getattr(value, "__module__", "")
        if home == families.__name__:
            base, config, output = value.__bases__[0], value.config_class, _bare_output(value)
            imports |= {_import(kind) for kind in (base, config, output) if kind is not None}
            of_what = f"[{_called(output)}]" if output else ""
            classes.append(f"class {name}({_called(base)}{of_what}):\n    config: {_called(config)}\n")
        elif not home:
            names.append(f"{name}: {type(value).__name__}\n")
        elif value.__name__ != name:
            names.append(f"{name} = {value.__name__}\n")
        else:
            imports.add(_import(value))
    names.append("PACKAGES: tuple[str, ...]\n")
    names.append("__all__: list[str]\n")
    return "\n".join([HEAD, *sorted(imports), "", "".join(sorted(names)), *classes])


def _bare_output(kind: type[Any]) -> type[ModelOutput] | None:
    """Return the class of what a bare model gives out; None for the other classes, whose bases say it."""
    if kind.task != "model":
        return None
    named = kind.family.part("model").name_outputs(np.empty((1, 1)), [None])
    return type(model_output(**named, hidden_states=None))


def _import(kind: Any) -> str:
    """Return the line that imports a class or function."""
    return f"from {kind.__module__} import {kind.__name__} as {_called(kind)}"


def _called(kind: Any) -> str:
    """Return what a class or function is called in the file: its name if that is public, else one that is not."""
    return kind.__name__ if kind.__name__ in npconv.__all__ else f"_{kind.__name__}"


if __name__ == "__main__":
    STUB.write_text(text(), "utf-8")
