"""How many files of npconv have a part in a call: those with a function that it executes, whatever thread does it.

``python -m tests.support.files_opened [classify] [diff] [convert]`` names them, with the functions. A call is made once
before it is counted, so what is loaded then is not counted; module and class bodies are not, either.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import npconv

from . import container_files as torch_file

PACKAGE = Path(npconv.__file__).parent

CONFIG = npconv.ConvNextV2Config(num_stages=2, hidden_sizes=[6, 10], depths=[1, 2], patch_size=2, num_labels=4)


def files_of(call: Callable[[], Any]) -> dict[str, list[str]]:
    """Return the files that have a part in a call, by their paths in the package, with the functions executed there."""
    found: dict[str, set[str]] = {}

    def note(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event == "call" and code.co_name != "<module>" and code.co_filename.startswith(f"{PACKAGE}{os.sep}"):
            found.setdefault(os.path.relpath(code.co_filename, PACKAGE), set()).add(code.co_qualname)

    with contextlib.redirect_stdout(io.StringIO()):
        call()
        before = sys.getprofile(), threading.getprofile()
        threading.setprofile(note)
        sys.setprofile(note)
        try:
            call()
        finally:
            sys.setprofile(before[0])
            threading.setprofile(before[1])
    return {file: sorted(functions) for file, functions in sorted(found.items())}


def classify(folder: Path, engine: str) -> dict[str, list[str]]:
    """Count a photo to its labels, by a pipeline that is loaded."""
    photo = PACKAGE / "zoo" / "samples" / "ship.png"
    pipeline = npconv.pipeline("image-classification", engine=engine)
    return files_of(lambda: pipeline(photo))


def diff(folder: Path, wrong: bool) -> dict[str, list[str]]:
    """Count ``npconv diff`` of a trace with itself, or with that of a port whose last LayerNorm has another epsilon."""
    from npconv.cli import main

    photo = str(PACKAGE / "zoo" / "samples" / "ship.png")
    model = npconv.ConvNextV2ForImageClassification(CONFIG)
    traces = []
    for name, epsilon in (("right", 1e-12), ("wrong", 1e-1)):
        model.config.layer_norm_eps = epsilon
        model.save_pretrained(folder / name)
        npconv.ConvNextImageProcessor(size=16).save_pretrained(folder / name)
        traces.append(str(folder / f"{name}.safetensors"))
        assert main(["trace", str(folder / name), photo, "--output", traces[-1]]) == 0
    reference, other = traces if wrong else [traces[0]] * 2
    return files_of(lambda: main(["diff", reference, other]))


def convert(folder: Path) -> dict[str, list[str]]:
    """Count a ``pytorch_model.bin`` that is converted, loaded and folded."""
    from npconv.convert import convert as convert_file

    model = npconv.ConvNextV2ForImageClassification(CONFIG)
    (folder / "source").mkdir()
    model.config.save_pretrained(folder / "source")
    tensors = {}
    for key, value in model.state_dict().items():
        strides = [stride // value.itemsize for stride in value.strides]
        tensors[key] = torch_file.tensor(torch_file.storage(key, value.size), value.shape, strides)
    content = torch_file.zipped(torch_file.mapping(**tensors), model.state_dict())
    (folder / "source" / "pytorch_model.bin").write_bytes(content)
    fresh = iter(range(9))

    def call() -> None:
        made = folder / f"made-{next(fresh)}"
        convert_file(folder / "source", made)
        npconv.AutoModelForImageClassification.from_pretrained(made, engine="fast")

    return files_of(call)


#: What is counted: name -> its parts, each of which makes what it needs in a folder.
CALLS: dict[str, dict[str, Callable[[Path], dict[str, list[str]]]]] = {
    "classify": {engine: lambda folder, engine=engine: classify(folder, engine) for engine in ("fast", "explicit")},
    "diff": {"equal": lambda folder: diff(folder, False), "wrong": lambda folder: diff(folder, True)},
    "convert": {"bin": convert},
}


def count(name: str, part: str) -> dict[str, list[str]]:
    """Return the files that have a part in one of the calls."""
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        return CALLS[name][part](Path(folder))


if __name__ == "__main__":
    for chosen in sys.argv[1:] or CALLS:
        for part_name in CALLS[chosen]:
            files = count(chosen, part_name)
            print(f"{chosen}, {part_name}: {len(files)} files")
            for path, functions in files.items():
                print(f"  {path}: {' '.join(functions)}")
