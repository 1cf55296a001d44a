"""Runs what people type, with the import replaced and stand-ins for what is not installed.

``tests/api/examples`` and ``tests/api/snippets`` hold small programs that import ``transformers``. A comment at their
head says where their kind was found; others say what the test needs to know::

    # found: an address, or a repository and a path
    # prints: a line of the output; once for each line that is asked for
    # device: cuda   (a stand-in for a GPU is there)
    # warns          (a warning is expected; ``may warn``: one is allowed, as it is given once a process)
    # row: the first cell of the row of README.md that says what to change

In a program with a ``row``, what stands behind ``# here:`` is to be written in place of the line before.
"""

from __future__ import annotations

import contextlib
import io
import re
import sys
import urllib.request
import warnings
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from npconv import backend
from support import standins
from support.torch_standin import Tensor, make_torch

#: What replacing the import means.
IMPORTS = [
    (r"^(\s*)from transformers\b", r"\1from npconv"),
    (r"^(\s*)import transformers$", r"\1import npconv as transformers"),
]

#: A line, and the lines that stand in its place.
CHANGE = re.compile(r"^([ \t]*)(\S.*)\n((?:[ \t]*# here: .*\n)+)", re.MULTILINE)


@dataclass
class Program:
    """A program as it was typed, and what its head says of it."""

    path: Path
    source: str
    found: str
    prints: list[str]
    row: str | None
    cuda: bool
    warns: bool | None

    @property
    def typed(self) -> str:
        """The program with nothing but the import replaced."""
        return replace_import(CHANGE.sub(r"\1\2\n", self.source))

    @property
    def changed(self) -> str:
        """The program with what the README says to change."""
        return replace_import(CHANGE.sub(lambda match: match[3].replace("# here: ", ""), self.source))


def replace_import(source: str) -> str:
    """Return a program that imports npconv in place of transformers."""
    for pattern, instead in IMPORTS:
        source = re.sub(pattern, instead, source, flags=re.MULTILINE)
    return source


def read_programs(folder: Path) -> list[Program]:
    """Return the programs of a folder, by name."""
    return [read_program(path) for path in sorted(folder.glob("**/*.py"))]


def read_program(path: Path) -> Program:
    """Return a program with what its head says."""
    source = path.read_text("utf-8")

    def said(key: str) -> list[str]:
        return re.findall(rf"^# {key}: (.*)$", source, re.MULTILINE)

    return Program(
        path=path,
        source=source,
        found=" ".join(said("found")),
        prints=said("prints"),
        row=next(iter(said("row")), None),
        cuda="# device: cuda\n" in source,
        warns=None if "# may warn\n" in source else "# warns\n" in source,
    )


def run(source: str, name: str, *, warns: bool | None = False) -> str:
    """Run a program and return what it prints; `warns` says whether it warns, None that it may."""
    printed, names = io.StringIO(), {"__name__": "__main__"}
    with warnings.catch_warnings(record=True) as caught, contextlib.redirect_stdout(printed):
        warnings.simplefilter("error" if warns is False else "always")
        exec(compile(source, name, "exec"), names)
    assert warns is None or bool(caught) == warns, [str(warning.message) for warning in caught]
    return printed.getvalue()


def cat() -> Image.Image:
    """Return the picture that stands for every picture on the web: wider than high, in colours."""
    rows, columns = np.mgrid[0:240, 0:320]
    return Image.fromarray(np.stack([rows, columns % 256, (rows + columns) % 256], axis=-1).astype(np.uint8))


def cat_bytes(kind: str = "png") -> bytes:
    """Return that picture as a file."""
    file = io.BytesIO()
    cat().save(file, kind)
    return file.getvalue()


OPEN = Image.open


def open_and_load(*args: Any, **kwargs: Any) -> Image.Image:
    """Open a picture as Pillow does, and read it at once: what people type leaves files open, which pytest reports."""
    image = OPEN(*args, **kwargs)
    image.load()
    return image


class Table:
    """A split of a data set: ``table["image"]``, ``table[0]["image"]``, ``len(table)``."""

    def __init__(self, rows: int = 3) -> None:
        self._rows = [{"image": cat(), "label": 281} for _ in range(rows)]

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Any:
        return iter(self._rows)

    def __getitem__(self, key: int | str) -> Any:
        return [row[key] for row in self._rows] if isinstance(key, str) else self._rows[key]


class Response:
    """The answer of ``requests.get`` and of ``urllib`` to the address of a picture."""

    ok = True
    status = status_code = 200

    def __init__(self, url: str) -> None:
        self.url = url
        self.content = cat_bytes()
        self.raw = io.BytesIO(self.content)
        self.headers = {"Content-Type": "image/png", "Content-Length": str(len(self.content))}

    def raise_for_status(self) -> None:
        return None

    def iter_content(self, chunk_size: int = 1) -> Any:
        return iter([self.content])

    def read(self, amount: int = -1) -> bytes:
        return self.raw.read(amount)

    def read1(self, amount: int = -1) -> bytes:
        return self.raw.read1(amount)

    def geturl(self) -> str:
        return self.url

    def info(self) -> dict[str, str]:
        return self.headers

    def getheader(self, name: str, default: Any = None) -> Any:
        return self.headers.get(name, default)

    def close(self) -> None:
        self.raw.close()

    def __enter__(self) -> Response:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


class Interface:
    """``gradio.Interface``: launching it sends one picture through the function and prints the answer."""

    def __init__(self, fn: Any, inputs: Any = None, outputs: Any = None, **_: Any) -> None:
        self.fn = fn

    @classmethod
    def from_pipeline(cls, pipeline: Any) -> Interface:
        if not type(pipeline).__module__.startswith("transformers.pipelines."):
            raise ValueError("pipeline must be a transformers.Pipeline")  # as in gradio/external.py
        return cls(lambda image: {entry["label"]: entry["score"] for entry in pipeline(image)})

    def launch(self, **_: Any) -> None:
        print(self.fn(cat()))


def _module(name: str, **members: Any) -> ModuleType:
    module = ModuleType(name)
    vars(module).update(members)
    return module


def _number(x: Any) -> Any:
    return np.asarray(x.numpy() if hasattr(x, "numpy") else x)


def make_tensorflow() -> dict[str, ModuleType]:
    """Return the stand-in for TensorFlow: its functions take arrays, as TensorFlow's do."""
    tensor = type("EagerTensor", (Tensor,), {"__module__": "tensorflow.python.framework.ops"})
    math = _module("tensorflow.math", argmax=lambda input, axis=None: tensor(_number(input).argmax(axis)))
    nn = _module("tensorflow.nn", softmax=lambda logits, axis=-1: tensor(Tensor(_number(logits)).softmax(axis)))
    make = {name: lambda x, dtype=None: tensor(_number(x)) for name in ("constant", "convert_to_tensor")}
    members = {**make, "argmax": math.argmax, "math": math, "nn": nn, "Tensor": tensor}
    return {"tensorflow": _module("tensorflow", **members)}


def make_jax() -> dict[str, ModuleType]:
    """Return the stand-in for JAX."""
    array = type("Array", (Tensor,), {"__module__": "jaxlib._jax"})
    numpy = _module("jax.numpy", asarray=lambda x, dtype=None: array(_number(x)))
    return {"jax": _module("jax", numpy=numpy, Array=array), "jax.numpy": numpy}


def make_libraries() -> dict[str, ModuleType]:
    """Return stand-ins for what programs around a model import, by name."""
    web = _module("requests", get=lambda url, **_: Response(url))
    gradio = _module("gradio", Interface=Interface, Image=lambda **_: "image", Label=lambda **_: "label")
    cv2 = _module(
        "cv2",
        imread=lambda path: np.asarray(Image.open(path).convert("RGB"))[..., ::-1],
        cvtColor=lambda image, code: image[..., ::-1],
        COLOR_BGR2RGB=4,
    )
    datasets = _module("datasets", load_dataset=lambda *_, split=None, **__: Table() if split else {"test": Table()})
    return {"requests": web, "gradio": gradio, "cv2": cv2, "datasets": datasets}


def install(monkeypatch: pytest.MonkeyPatch, folder: Path, cache: Path, *, cuda: bool, torch: bool) -> None:
    """Put the stand-ins where a program finds them; `torch` says whether PyTorch needs one."""
    modules = {**make_libraries(), **make_tensorflow(), **make_jax(), **(make_torch() if torch else {})}
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setenv("HF_HUB_CACHE", str(cache))
    monkeypatch.chdir(folder)
    for name in ("cat.png", "cat.jpg", "photos/first.jpg", "photos/second.jpg"):
        (folder / name).parent.mkdir(exist_ok=True)
        cat().save(folder / name)
    answer = staticmethod(lambda request, *_, **__: Response(getattr(request, "full_url", request)))
    monkeypatch.setattr(urllib.request.OpenerDirector, "open", answer)
    monkeypatch.setattr(Image.Image, "show", lambda self: None)
    monkeypatch.setattr(Image, "open", open_and_load)
    if cuda:
        stub = standins.make_device_stub()
        monkeypatch.setitem(sys.modules, "device_stub", stub)
        monkeypatch.setitem(sys.modules, "device_stub.special", stub.special)
        monkeypatch.setitem(backend.SPECIAL_FUNCTIONS, "device_stub", "device_stub.special")
        monkeypatch.setitem(backend.DEVICES, "cuda", "device_stub")
