"""A model on labelled photos, from files to measures."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from support.labelled_pictures import COLOURS, colour_model, draw, draw_colours, zip_folder

import npconv
from npconv.errors import InputError, NpconvError
from npconv.training import LabelledPhotos, Problem, read_photos
from npconv.training.accuracy import PICTURE_NAME, accuracy_table, write_accuracy
from npconv.training.evaluate import ScoreWork, choose_part, evaluate, photos_for
from npconv.training.measures import top
from npconv.training.mistakes import draw_mistakes, worst
from npconv.training.photo_tables import MULTI, REGRESSION, SINGLE
from npconv.training.report import report

CLASSES = list(COLOURS)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return colour_model(tmp_path_factory.mktemp("models") / "colours")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Four photos a class and part; one that is called red is green."""
    return draw_colours(tmp_path_factory.mktemp("photos") / "photos")


def table(folder, text: str):
    path = folder / "photos.csv"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("batch_size", [1, 5, 100])
def test_every_photo_is_counted_once(model, photos, batch_size):
    found = evaluate(model, photos, batch_size=batch_size)
    assert found.photos.part == "test"
    assert len(found.photos.files) == 12
    assert found.photos.classes == tuple(CLASSES)
    assert top(found.answers, 1)[:2] == (11, 12)
    assert found.answers.truth.tolist() == found.photos.targets.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert found.answers.answer.tolist() == [0] * 4 + [1] * 4 + [2, 2, 2, 1]


def test_confidence_is_the_probability_that_the_pipeline_gives(model, photos):
    found = evaluate(model, photos)
    for place, expected in enumerate(npconv.pipeline(model=str(model))(list(found.photos.files))):
        assert CLASSES[found.answers.answer[place]] == expected[0]["label"]
        # a batch sums in another order than one picture: some units of float32
        assert found.answers.confidence[place] == pytest.approx(expected[0]["score"], rel=1e-6)


@pytest.mark.long
def test_workers_give_the_same_answers(model, photos, tmp_path):
    alone = evaluate(model, photos, batch_size=2)
    for source in (photos, zip_folder(photos, tmp_path / "photos.zip")):
        shared = evaluate(str(model), source, batch_size=2, workers=2)
        for one, other in zip(alone.answers, shared.answers, strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_loaded_model_and_photos_that_were_read_before_will_do(model, photos):
    loaded = npconv.AutoModelForImageClassification.from_pretrained(model)
    given = photos_for(photos, loaded.config, "train")
    found = evaluate(loaded, given)
    assert (found.photos.part, found.model) == ("train", str(model))
    assert top(found.answers, 1)[:2] == (11, 12)


def test_photos_with_classes_in_another_order_get_those_of_the_model(model, photos):
    given = read_photos(photos)["test"]
    order = np.array([2, 0, 1])  # red, blue, green
    turned = replace(given, classes=("green", "red", "blue"), targets=order[given.targets])
    assert [turned.classes[number] for number in turned.targets] == [given.classes[number] for number in given.targets]
    found = evaluate(model, turned)
    assert found.photos.classes == tuple(CLASSES)
    assert top(found.answers, 1)[:2] == (11, 12)


def test_photos_that_cannot_be_read_are_named_and_left_out(model, tmp_path):
    folder = draw_colours(tmp_path / "photos", ("test",))
    (folder / "test/red/0.png").write_bytes(b"no picture at all, but long enough")
    (folder / "test/green/1.png").write_bytes((folder / "test/green/1.png").read_bytes()[:40])
    seen = []
    found = evaluate(model, folder, batch_size=3, watch=seen.append)
    assert len(found.photos.files) == len(found.answers.truth) == 10
    assert {os.path.basename(os.path.dirname(p.file)) for p in found.photos.problems} == {"red", "green"}
    assert all(problem.kind == "unreadable" and problem.detail for problem in found.photos.problems)
    assert not any(problem.detail.startswith(problem.file) for problem in found.photos.problems)
    assert [len(batch) for batch in seen] == [3, 3, 3, 3]
    assert sum(bool(result.error) for batch in seen for result in batch) == 2
    assert [result.file for batch in seen for result in batch] == list(read_photos(folder)["test"].files)


def test_photos_of_which_none_can_be_read_are_an_error(model, tmp_path):
    for name in ("red", "blue"):
        draw(tmp_path / "photos" / name / "1.png", (1, 1, 1)).write_bytes(f"not a picture of {name}".encode())
    with pytest.raises(InputError, match=r"expected photos that can be read, got none: .*1.png: .* and 1 more"):
        evaluate(model, tmp_path / "photos")


def test_a_photo_that_takes_too_much_memory_is_named(model, tmp_path):
    draw(tmp_path / "photos/red/large.png", (255, 0, 0), (2000, 1000))
    draw(tmp_path / "photos/red/small.png", (255, 0, 0))
    found = evaluate(model, tmp_path / "photos", max_memory=2**20)
    assert [os.path.basename(problem.file) for problem in found.photos.problems] == ["large.png"]


@pytest.mark.filterwarnings("ignore:the weights hold NaN")
def test_answers_that_are_no_numbers_are_named(model, photos, tmp_path):
    loaded = npconv.AutoModelForImageClassification.from_pretrained(model)
    loaded.classifier.bias[0] = np.nan
    loaded.save_pretrained(tmp_path / "broken")
    npconv.AutoImageProcessor.from_pretrained(model).save_pretrained(tmp_path / "broken")
    with pytest.raises(InputError, match="the scores are not finite, as the weights hold NaN or infinity: 1 in class"):
        evaluate(tmp_path / "broken", photos)


def test_the_part_to_measure_is_test_before_validation_before_all():
    found = {
        name: LabelledPhotos(("x",), np.zeros(1, int), ("a",), part=name) for name in ("train", "validation", "test")
    }
    assert choose_part(found).part == "test"
    del found["test"]
    assert choose_part(found).part == "validation"
    assert choose_part({"train": found["train"]}).part == "train"
    assert choose_part(found, "train").part == "train"
    with pytest.raises(InputError, match=r"expected a part that is there \(train, validation\), got 'test'"):
        choose_part(found, "test")


def test_problems_of_all_parts_are_said_of_the_one_that_is_measured(model, tmp_path):
    folder = draw_colours(tmp_path / "photos")
    (folder / "train/violet").mkdir()
    (problem,) = evaluate(model, folder).photos.problems
    assert (problem.kind, problem.file) == ("empty_class", "train/violet")


def test_a_model_of_several_labels_is_measured_label_by_label(tmp_path):
    model = colour_model(tmp_path / "model", problem_type=MULTI)
    for name, colour in {"red": (255, 0, 0), "yellow": (255, 255, 0), "black": (0, 0, 0)}.items():
        draw(tmp_path / f"{name}.png", colour)
    path = table(tmp_path, "file,red,green,shiny\nred.png,1,0,1\nyellow.png,1,1,0\nblack.png,0,1,0\n")
    found = evaluate(model, path)
    inputs = npconv.AutoImageProcessor.from_pretrained(model)([Image.open(file) for file in found.photos.files])
    logits = npconv.AutoModelForImageClassification.from_pretrained(model)(**inputs).logits.astype(np.float64)
    # float32 and the fast engine: some units in the last place
    np.testing.assert_allclose(found.scores, 1 / (1 + np.exp(-logits)), rtol=1e-5)
    said = report(found)
    assert [problem["kind"] for problem in said["problems"]] == ["unknown_class"]
    assert [label["label"] for label in said["labels"]] == ["green", "red"]
    # black is nothing, so each logit is 0, and 0.5 is enough: for green, which it has, and for red, which it has not
    assert [(label["right"], label["answered"]) for label in said["labels"]] == [(2, 2), (2, 3)]
    assert said["all_labels_right"]["right"] == 2
    assert said["mean_average_precision"] is not None
    json.dumps(said, allow_nan=False)


def test_a_regression_is_measured_by_its_errors(tmp_path):
    model = colour_model(tmp_path / "model", problem_type=REGRESSION, id2label={0: "blueness"})
    for name, colour in COLOURS.items():
        draw(tmp_path / f"{name}.png", colour)
    found = evaluate(model, table(tmp_path, "file,label\nblue.png,1\nred.png,-1\n"))
    # mean, LayerNorm over (1, -1, -1) and its permutations: 2 / sqrt(2) and -1 / sqrt(2); eps is 1e-12
    np.testing.assert_allclose(found.scores, [[np.sqrt(2)], [-np.sqrt(0.5)]], rtol=1e-5)
    (said,) = report(found)["numbers"]
    assert said["name"] == "label"
    assert said["mean_absolute_error"] == pytest.approx((np.sqrt(2) - 1 + 1 - np.sqrt(0.5)) / 2, rel=1e-5)
    assert accuracy_is_refused(found)


def accuracy_is_refused(found) -> bool:
    """Tell whether what is only of one class is refused."""
    for function in (accuracy_table, lambda found: worst(found, 3)):
        with pytest.raises(InputError, match="expected a model that tells one class, got one of regression"):
            function(found)
    return True


def test_other_classes_and_missing_things_are_errors(model, photos, tmp_path):
    draw(tmp_path / "other/purple/1.png", (9, 9, 9))
    with pytest.raises(InputError, match=r"model's classes \('blue', 'green', 'red'\); got 'purple'"):
        evaluate(model, tmp_path / "other")
    with pytest.raises(InputError, match="no such folder or file"):
        evaluate(model, tmp_path / "no")
    with pytest.raises(NpconvError, match="no model 'no-such-model'"):
        evaluate("no-such-model", photos)


def test_the_report_is_data_without_numbers_that_json_lacks(model, tmp_path):
    draw(tmp_path / "photos/red/1.png", (255, 0, 0))
    said = report(evaluate(model, tmp_path / "photos"))
    assert json.loads(json.dumps(said, allow_nan=False)) == said
    assert said["top_1"] == {"value": 1, "right": 1, "total": 1, "low": pytest.approx(0.2065, abs=1e-4), "high": 1}
    assert said["top_5"] is None  # of three classes it says nothing
    assert said["classes"][0] == {
        "class": "blue", "photos": 0, "right": 0, "recall": None, "precision": None, "f1": None, "taken_for": None,
        "taken_for_count": 0,
    }  # fmt: skip
    assert said["mistakes"] == []


def test_mistakes_are_named_and_the_worst_come_first(model, photos):
    found = evaluate(model, photos)
    said = report(found)
    assert said["mistakes"] == [{"class": "red", "answer": "green", "count": 1}]
    assert worst(found, 5).tolist() == [11]
    sheet = draw_mistakes(found)
    # the photo is dark green, 255 - 100, in the middle of the first cell
    assert sheet.getpixel((92, 130)) == (0, 155, 0)


def test_a_photo_that_is_gone_is_grey_on_the_sheet(model, photos):
    found = evaluate(model, photos)
    files = tuple(f"{file}.gone" for file in found.photos.files)
    sheet = draw_mistakes(replace(found, photos=replace(found.photos, files=files)))
    assert sheet.getpixel((92, 130)) == (128, 128, 128)


def test_the_table_of_a_card_says_what_each_class_is_taken_for(model, photos):
    assert accuracy_table(evaluate(model, photos)).splitlines() == [
        "| class | right | most often taken for |",
        "|---|---|---|",
        "| blue | 100.0 % |  |",
        "| green | 100.0 % |  |",
        "| red | 75.0 % | green (25.0 %) |",
        "| **all** | **91.67 %** (11 of 12) | |",
    ]


def test_the_card_gets_table_and_picture_and_keeps_the_rest(photos, tmp_path):
    model = colour_model(tmp_path / "model")
    found = evaluate(model, photos)
    with pytest.raises(InputError, match="give the folder of a model with a model card"):
        write_accuracy(model, found)
    (model / "README.md").write_text("# small\n", encoding="utf-8")
    with pytest.raises(InputError, match="expected a section '## Accuracy' to write the table into; add the heading"):
        write_accuracy(model, found)
    facts = "---\nmetrics: [{type: accuracy, value: ACCURACY}]\n---\n\n# small\n\n"
    before, after = facts.replace("ACCURACY", "91.67"), "## Use\n\nAs it is.\n"
    text = f"{facts.replace('ACCURACY', '12.3')}## Accuracy\n\nold\n\n{after}"
    (model / "README.md").write_text(text, encoding="utf-8")
    for _ in range(2):  # written anew, not a second time
        write_accuracy(model, found)
        card = (model / "README.md").read_text(encoding="utf-8")
        assert card.startswith(f"{before}## Accuracy\n\n91.67 % top-1 on the 12 pictures of the test part,")
        assert card.endswith(f"![What each class is taken for]({PICTURE_NAME})\n\n{after}")
        assert card.count("| red | 75.0 % | green (25.0 %) |") == 1
        assert "old" not in card
    with Image.open(model / PICTURE_NAME) as picture:
        assert picture.width > 200


def test_a_card_names_no_part_of_photos_that_are_not_divided(photos, tmp_path):
    model = colour_model(tmp_path / "model")
    (model / "README.md").write_text("## Accuracy\n", encoding="utf-8")
    write_accuracy(model, evaluate(model, photos / "test"))
    assert "top-1 on the 12 pictures, measured by npconv" in (model / "README.md").read_text(encoding="utf-8")


def test_a_class_without_photos_has_no_accuracy(model, tmp_path):
    draw(tmp_path / "photos/red/1.png", (255, 0, 0))
    assert "| blue | no picture |  |" in accuracy_table(evaluate(model, tmp_path / "photos"))


def test_problems_that_were_known_before_stay_said(model, photos):
    config = npconv.AutoConfig.from_pretrained(model)
    given = photos_for(photos, config)
    told = Problem("missing", "x.jpg")
    found = evaluate(model, LabelledPhotos(given.files, given.targets, given.classes, problems=(told,)))
    assert found.photos.problems == (told,)


def test_what_overflows_is_the_photos_failure_and_no_warning():
    """Where a model computes infinity less infinity."""

    def forward(inputs):
        large = np.array([[1e30, 1.0], [2.0, 1.0]], np.float32) ** 2
        return SimpleNamespace(logits=large - np.where(np.isfinite(large), 0, large))

    tool = SimpleNamespace(forward=forward, flaw=lambda value, option: f"not finite; {option}")
    work = ScoreWork(lambda: tool, SINGLE, dtype_option="--dtype ")
    bad, good = work.run(tool, [SimpleNamespace(file=name, target=0) for name in "ab"], [np.zeros((3, 2, 2))] * 2)
    assert (bad.file, bad.error, good.file, good.error) == ("a", "not finite; --dtype ", "b", "")
