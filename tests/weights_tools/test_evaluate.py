"""Accuracy measured on labelled pictures."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

import npconv
from weights_tools import evaluate

CLASSES = ["blue", "green", "red"]


@pytest.fixture
def model(tmp_path):
    """A model that answers with the channel that is brightest: mean, LayerNorm and a diagonal classifier."""
    config = npconv.ConvNextConfig(
        hidden_sizes=[3], depths=[1], num_stages=1, patch_size=1, id2label=dict(enumerate(CLASSES))
    )
    state = {name: np.zeros(shape, np.float32) for name, shape in npconv.ConvNextModel.parameter_shapes(config).items()}
    state["embeddings.patch_embeddings.weight"] = np.eye(3, dtype=np.float32)[::-1].reshape(3, 3, 1, 1)
    for name in ("embeddings.layernorm.weight", "layernorm.weight"):
        state[name] = np.ones(3, np.float32)
    classifier = {"classifier.weight": np.eye(3, dtype=np.float32), "classifier.bias": np.zeros(3, np.float32)}
    head = {f"convnext.{name}": value for name, value in state.items()} | classifier
    npconv.ConvNextForImageClassification(config, head).save_pretrained(tmp_path / "model")
    npconv.ConvNextImageProcessor(size={"shortest_edge": 4}).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def pictures(tmp_path):
    """Four pictures a class; one that is called red is green."""
    for name, colour in zip(CLASSES, [(0, 0, 255), (0, 255, 0), (255, 0, 0)], strict=True):
        for part in ("train", "test"):
            folder = tmp_path / "pictures" / part / name
            folder.mkdir(parents=True)
            for number in range(4):
                odd_one = name == "red" and number == 3
                Image.new("RGB", (5, 7), (0, 255, 0) if odd_one else colour).save(folder / f"{number}.png")
    return tmp_path / "pictures"


@pytest.mark.parametrize("batch_size", [1, 5, 100])
def test_every_picture_is_counted_once(model, pictures, batch_size):
    classes, confusion = evaluate.evaluate(str(model), pictures, batch_size=batch_size)
    assert classes == CLASSES
    np.testing.assert_array_equal(confusion, [[4, 0, 0], [0, 4, 0], [0, 1, 3]])


def test_the_report_is_a_table(model, pictures, capsys):
    assert evaluate.main([str(model), str(pictures)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "| class | right | most often taken for |",
        "|---|---|---|",
        "| blue | 100.0 % |  |",
        "| green | 100.0 % |  |",
        "| red | 75.0 % | green (25.0 %) |",
        "| **all** | **91.67 %** (11 of 12) | |",
    ]


def test_other_classes_and_missing_things_are_one_line(model, pictures, tmp_path, capsys):
    for part in ("train", "test"):
        (pictures / part / "red").rename(pictures / part / "purple")
    for arguments in (
        [str(model), str(pictures)],
        [str(model), str(tmp_path / "no")],
        ["no-such-model", str(pictures)],
    ):
        assert evaluate.main(arguments) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert lines[0] == "error: expected the model's classes (blue, green, red); the pictures have 'purple'"
