"""How large the page of ``npconv look`` is, and what it takes, of a ConvNeXt-T at 224 x 224 with random weights.

    python -m tests.pictures.speed                   prints size, seconds and peak memory
    python -m tests.pictures.speed --keep FOLDER     keeps model, picture and page there, and takes those it finds

The picture is of noise, which no compression makes small. The model alone is what the command needs without any
picture: both engines loaded, and one forward pass of each.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from npconv.api import AutoImageProcessor, pipeline
from npconv.bench.processes import OtherPrograms
from npconv.cores import available_cores
from npconv.models.parameters import flatten
from npconv.models.plans import make_plan
from npconv.pictures import look
from npconv.pictures.page import to_html
from tests.golden.speed import make_subject, measure, row


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="python -m tests.pictures.speed", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--keep", type=Path, metavar="FOLDER")
    parser.add_argument("--part", choices=list(PARTS), help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    if args.part:
        print(json.dumps(PARTS[args.part](args.keep)))
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "picture.png").exists():
            make_subject(folder)
        others = OtherPrograms()
        page = folder / "page.html"
        command = ["look", str(folder / "picture.png"), "--model", str(folder / "model"), "-o", str(page), "--force"]
        row("", "wall s", "processor s", "peak MB")
        alone, _ = measure(["--part", "alone", "--keep", str(folder)], 0, "tests.pictures.speed")
        whole, _ = measure(command, 0)
        for name, figures in (("the model alone", alone), ("npconv look", whole)):
            row(name, f"{figures.wall:.1f}", f"{figures.processor:.1f}", f"{figures.memory / 1e6:.0f}")
        print(f"page: {page.stat().st_size / 1e6:.2f} MB")
        os.environ["OMP_NUM_THREADS"] = "1"  # threads that wait would count
        _, printed = measure(["--part", "times", "--keep", str(folder)], 0, "tests.pictures.speed")
        print(
            "processor seconds on one core:",
            ", ".join(f"{name} {seconds:.1f}" for name, seconds in json.loads(printed).items()),
        )
        _, printed = measure(["--part", "stages", "--keep", str(folder)], 0, "tests.pictures.speed")
        print("peak MB so far:", ", ".join(f"{name} {peak:.0f}" for name, peak in json.loads(printed).items()))
        if (busy := others.cores()) is not None:
            print(f"other programs kept {busy:.1f} of {available_cores()} cores busy")
    return 0


def _models(folder: Path) -> tuple[Any, Any]:
    """Return the model with both engines, each run once."""
    name = str(folder / "model")
    model, fast = (pipeline(model=name, engine=engine).model for engine in ("explicit", "fast"))
    x = AutoImageProcessor.from_pretrained(name)(Image.open(folder / "picture.png"))["pixel_values"]
    for one in (model, fast):
        one(x)
    return model, fast


def alone(folder: Path) -> dict[str, float]:
    """Load the model with both engines and run each once."""
    _models(folder)
    return {}


def times(folder: Path) -> dict[str, float]:
    """Make the page; return the processor seconds of its parts."""
    spent = dict.fromkeys(("forward passes", "gradients"), 0.0)

    def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            start = time.process_time()
            found = function(*args, **options)
            spent[name] += time.process_time() - start
            return found

        return call

    model, fast = _models(folder)
    processor = AutoImageProcessor.from_pretrained(str(folder / "model"))
    vars(look)["run_step"] = timed("forward passes", look.run_step)
    gradients = look.gradients_of_classes
    vars(look)["gradients_of_classes"] = timed("gradients", lambda *args: list(gradients(*args)))
    start = time.process_time()
    type(fast).__call__ = timed("forward passes", type(fast).__call__)  # type: ignore[method-assign]
    text = to_html(look.look_at(model, processor, Image.open(folder / "picture.png"), "speed", fast))
    whole = time.process_time() - start
    assert text
    return {**spent, "all else": whole - sum(spent.values())}


def stages(folder: Path) -> dict[str, float]:
    """Look into every step; return the peak memory of this process in MB at the end of each stage."""
    model, _ = _models(folder)
    x = AutoImageProcessor.from_pretrained(str(folder / "model"))(Image.open(folder / "picture.png"))["pixel_values"]
    found = {"before": _peak()}
    for view in look.look_into(make_plan(model.config, model.task), x, flatten(model.params)):
        outside = "head" if "stage 1" in found else "stem"
        found[outside if view.stage is None else f"stage {view.stage + 1}"] = _peak()
    return found


def _peak() -> float:
    """Return the peak memory of this process in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


PARTS: dict[str, Callable[[Path], dict[str, float]]] = {"alone": alone, "times": times, "stages": stages}

if __name__ == "__main__":
    sys.exit(main())
