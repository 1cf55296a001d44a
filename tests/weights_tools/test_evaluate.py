"""Accuracy measured on labelled pictures."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

import npconv
from npconv.errors import InputError
from weights_tools import evaluate
from weights_tools.training import cards

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


def test_several_models_are_measured_in_one_call(model, pictures, capsys):
    assert evaluate.main([str(model), str(model), str(pictures)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines.count(f"## {model}") == 2
    assert lines.count("| **all** | **91.67 %** (11 of 12) | |") == 2


def test_the_card_gets_table_and_picture_and_keeps_the_rest(model, pictures):
    facts = "---\nmetrics: [{type: accuracy, value: ACCURACY}]\n---\n\n# small\n\n"
    before, after = facts.replace("ACCURACY", "91.67"), "## Use\n\nAs it is.\n"
    (model / "README.md").write_text(
        f"{facts.replace('ACCURACY', '12.3')}## Accuracy\n\nold\n\n{after}", encoding="utf-8"
    )
    for _ in range(2):  # written anew, not a second time
        assert evaluate.main([str(model), str(pictures), "--cards"]) == 0
        card = (model / "README.md").read_text(encoding="utf-8")
        assert card.startswith(f"{before}## Accuracy\n\n91.67 % top-1 on the 12 pictures of the test part,")
        assert card.endswith(f"![What each class is taken for]({cards.PICTURE_NAME})\n\n{after}")
        assert card.count("| red | 75.0 % | green (25.0 %) |") == 1
        assert "old" not in card
    with Image.open(model / cards.PICTURE_NAME) as picture:
        assert picture.width > cards.CELL * len(CLASSES)


def test_a_model_without_a_card_is_one_line(model, pictures, capsys):
    assert evaluate.main([str(model), str(pictures), "--cards"]) == 2
    (model / "README.md").write_text("# small\n", encoding="utf-8")
    assert evaluate.main([str(model), str(pictures), "--cards"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert "expected a section '## Accuracy'" in lines[1]


def test_the_picture_is_darkest_where_most_pictures_are():
    image = cards.draw_confusion(CLASSES, np.array([[10, 0, 0], [0, 5, 5], [0, 1, 9]]))
    left, top = (size - cards.MARGIN - 3 * cards.CELL for size in image.size)

    def brightness(row: int, column: int) -> int:
        return sum(image.getpixel((left + cards.CELL * column + 3, top + cards.CELL * row + 3)))

    assert brightness(0, 0) == sum(cards.DARK)
    assert brightness(0, 1) == sum(cards.LIGHT)
    assert brightness(1, 1) == brightness(1, 2)
    assert brightness(0, 0) < brightness(2, 2) < brightness(1, 1) < brightness(2, 1) < brightness(2, 0)


def test_a_class_without_pictures_has_no_accuracy():
    assert "| blue | no picture |  |" in cards.accuracy_table(CLASSES, np.diag([0, 1, 1]))
    with pytest.raises(InputError, match="at most 30 classes"):
        cards.draw_confusion(["a"] * 31, np.eye(31))


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
