"""The embedded models: what each is promised to be, and that its files agree with each other."""

from __future__ import annotations

import re

import numpy as np
import pytest
from PIL import Image

import npconv
from npconv.files.disk import embedded_models, locate
from npconv.files.safetensors import load_file

CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
MODELS = {"convnext-cifar10": "convnext", "convnextv2-cifar10": "convnextv2", "cvt-cifar10": "cvt"}
SAMPLE = locate("convnextv2-cifar10").parent / "samples" / "ship.png"


def test_there_is_one_model_of_each_family():
    assert {name: npconv.AutoConfig.from_pretrained(name).model_type for name in embedded_models()} == MODELS


@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_small(name):
    folder = locate(name)
    tensors = load_file(folder / "model.safetensors")
    assert {tensor.dtype for tensor in tensors.values() if tensor.dtype.kind == "f"} == {np.dtype("float16")}
    assert npconv.AutoModelForImageClassification.from_pretrained(name).num_parameters() <= 600_000
    assert (folder / "model.safetensors").stat().st_size <= 1.2 * 2**20


@pytest.mark.parametrize("name", MODELS)
def test_the_card_says_how_good_a_model_is_and_how_it_was_made(name):
    card = (locate(name) / "README.md").read_text(encoding="utf-8")
    assert f"# {name}\n" in card
    assert (
        float(re.search(r"^(\d\d\.\d\d) % top-1 on the 10,000 pictures of the test part", card, re.MULTILINE)[1]) >= 89
    )
    row = re.compile(rf"^\| (?:{'|'.join(CLASSES)}) \| (\d+\.\d) %", re.MULTILINE)
    shares = [float(share) for share in row.findall(card)]
    total = float(re.search(r"\| \*\*all\*\* \| \*\*(\d\d\.\d\d) %", card)[1])
    assert len(shares) == 10
    assert abs(np.mean(shares) - total) < 0.06  # a thousand pictures of each class; the shares are rounded
    assert f"metrics: [{{type: accuracy, value: {total:.2f}}}]\n---\n" in card
    assert f"python -m weights_tools.train cifar10.zip {name}" in card
    with Image.open(locate(name) / "confusion.png") as picture:
        assert picture.width > 600


@pytest.mark.parametrize("engine", ["explicit", "fast"])
@pytest.mark.parametrize("name", MODELS)
def test_the_sample_is_a_ship(name, engine):
    processor = npconv.AutoImageProcessor.from_pretrained(name)
    model = npconv.AutoModelForImageClassification.from_pretrained(name, engine=engine)
    assert list(model.config.id2label.values()) == CLASSES
    logits = model(**processor(SAMPLE)).logits[0]
    assert model.config.id2label[int(logits.argmax())] == "ship"
