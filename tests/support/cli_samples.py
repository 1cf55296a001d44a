"""What the tests of the command line have in common, and can import."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from npconv.cli import main

#: A comma, a letter outside ASCII and a line break: what labels of published models have, and what hostile ones have.
LABELS = ["tabby, tabby cat", "café", "line\nbreak", "ship", "truck", "frog"]

#: The photos of the folder `photos` in the order of their names, and a part of the reason where they cannot be read.
PHOTOS = {
    "animated.gif": None,
    "cmyk.jpg": None,
    "empty.png": "empty file",
    "good.png": None,
    "grey of 16 bits.png": None,
    "one_pixel.png": None,
    "text.png": "not a picture",
    "truncated.jpg": "damaged",
    "upright.jpg": None,
}


def picture(seed: int) -> Image.Image:
    """A picture whose corners, edges and colours all differ."""
    coarse = np.random.default_rng(seed).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((40, 30), Image.Resampling.BICUBIC)


def classify(capsys: pytest.CaptureFixture[str], model: Path, *words: str) -> tuple[int, str, list[str]]:
    """Run the command; return its status, stdout and the lines of stderr."""
    status = main(["classify", "--model", str(model), *words])
    output = capsys.readouterr()
    return status, output.out, output.err.splitlines()


def rewrite(file: Path, **fields: object) -> None:
    """Change fields of a JSON file; None removes one."""
    content = {**json.loads(file.read_text()), **fields}
    file.write_text(json.dumps({name: value for name, value in content.items() if value is not None}))
