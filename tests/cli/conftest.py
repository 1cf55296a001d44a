"""A small model on disk and a folder of photos, good ones and broken ones."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.cli_samples import LABELS, PHOTOS, picture

import npconv
from npconv import ConvNextImageProcessor, ConvNextV2Config, ConvNextV2ForImageClassification


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a random ConvNeXt V2 with six classes, for pictures of 16 x 16."""
    folder = tmp_path_factory.mktemp("models") / "small"
    config = ConvNextV2Config(
        num_stages=2,
        hidden_sizes=[6, 10],
        depths=[1, 3],
        initializer_range=0.5,
        id2label=dict(enumerate(LABELS)),
        transformers_version="5.1.0",
    )
    ConvNextV2ForImageClassification(config).save_pretrained(folder)
    means = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
    ConvNextImageProcessor(size=16, **means).save_pretrained(folder)
    return folder


@pytest.fixture
def own_model(model: Path, tmp_path: Path) -> Path:
    """A copy of `model` that a test may break."""
    return Path(shutil.copytree(model, tmp_path / "own"))


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The paths of `PHOTOS`."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    good = picture(0)
    for name in ("good.png", "upright.jpg"):
        good.save(folder / name)
    good.convert("CMYK").save(folder / "cmyk.jpg")
    content = (folder / "upright.jpg").read_bytes()
    (folder / "truncated.jpg").write_bytes(content[: len(content) // 2])
    (folder / "empty.png").touch()
    (folder / "text.png").write_text("no picture at all")
    picture(1).resize((1, 1)).save(folder / "one_pixel.png")
    Image.fromarray(rng.integers(0, 2**16, (23, 31)).astype(np.uint16)).save(folder / "grey of 16 bits.png")
    good.save(folder / "animated.gif", save_all=True, append_images=[picture(2), picture(3)])
    return [str(folder / name) for name in PHOTOS]


@pytest.fixture(scope="session")
def console() -> Callable[..., subprocess.Popen]:
    """Start ``python -m npconv`` as a process of its own, with pipes for all its streams."""

    def start(*words: str, **options) -> subprocess.Popen:
        environment = {**os.environ, "PYTHONIOENCODING": "utf-8", "OMP_NUM_THREADS": "1", **options.pop("env", {})}
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        home = Path(npconv.__file__).parents[1]  # where a source tree is imported from; installed, it does no harm
        return subprocess.Popen([sys.executable, "-m", "npconv", *words], cwd=home, env=environment, **pipes)

    return start
