"""``npconv evaluate``: what it writes, what it says of odd photos, and its exit statuses."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.labelled_pictures import colour_model, draw, draw_colours, zip_folder

import npconv
from npconv.cli import main
from npconv.training.evaluate import evaluate
from npconv.training.photo_tables import MULTI, REGRESSION
from npconv.training.report import report


@pytest.fixture(scope="module")
def colours(tmp_path_factory) -> Path:
    """A model that tells which colour is brightest."""
    return colour_model(tmp_path_factory.mktemp("models") / "colours")


@pytest.fixture(scope="module")
def labelled(tmp_path_factory) -> Path:
    """Four photos a class and part; one that is called red is green."""
    return draw_colours(tmp_path_factory.mktemp("labelled") / "photos")


@pytest.fixture
def run(capsys):
    """Return what runs the command, and gives its status, stdout and the lines of stderr."""

    def run(*words: object) -> tuple[int, str, list[str]]:
        status = main(["evaluate", *map(str, words)])
        said = capsys.readouterr()
        return status, said.out, said.err.splitlines()

    return run


def test_the_text_says_how_many_are_right_and_what_each_class_is_taken_for(run, colours, labelled):
    status, out, errors = run(colours, labelled)
    assert (status, errors) == (0, [])
    lines = out.splitlines()
    assert lines[:3] == [
        f"model              {colours}",
        "photos             12 of the part test",
        "top-1              91.67 %  (64.61 to 98.51 % with a confidence of 95 %)",
    ]
    assert [line.split("  ")[0] for line in lines[3:5]] == ["log loss", "calibration error"]
    assert [line.split() for line in lines[6:]] == [
        ["class", "photos", "right", "precision", "most", "often", "taken", "for"],
        ["blue", "4", "100.0", "%", "100.0", "%"],
        ["green", "4", "100.0", "%", "80.0", "%"],
        ["red", "4", "75.0", "%", "100.0", "%", "green", "(25.0", "%)"],
    ]


def test_json_is_the_report(run, colours, labelled):
    status, out, errors = run(colours, labelled, "--format", "json")
    assert (status, errors) == (0, [])
    assert json.loads(out) == json.loads(json.dumps(report(evaluate(str(colours), labelled))))


def test_csv_has_a_row_for_each_photo(run, colours, labelled):
    status, out, _ = run(colours, labelled, "--format", "csv", "--part", "train")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert status == 0
    assert [row["file"] for row in rows[:4]] == [str(labelled / f"train/blue/{number}.png") for number in range(4)]
    assert [row["label"] for row in rows] == ["blue"] * 4 + ["green"] * 4 + ["red"] * 4
    assert [row["answer"] for row in rows[8:]] == ["red", "red", "red", "green"]
    assert [row["place"] for row in rows[8:11]] == ["1"] * 3
    assert rows[11]["place"] in ("2", "3")  # red and blue are equally dark in a green photo
    assert all(0.5 < float(row["score"]) < 1 and row["error"] == "" for row in rows)


@pytest.mark.long
@pytest.mark.parametrize("sharing", [("--workers", "2"), ("--workers", "2", "--cache"), ("--batch-size", "5")])
def test_who_does_the_work_changes_no_answer(run, tmp_path, labelled, sharing):
    model = colour_model(tmp_path / "model")
    alone = run(model, labelled, "--format", "csv")
    assert run(model, labelled, "--format", "csv", *sharing) == alone


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_other_dtypes_give_the_same_answers(run, colours, labelled, dtype):
    status, out, _ = run(colours, labelled, "--format", "json", "--dtype", dtype)
    assert status == 0
    assert json.loads(out)["top_1"]["right"] == 11


def test_a_zip_file_and_a_table_are_measured_as_the_folder(run, colours, labelled, tmp_path):
    rows = [f"{name}/{number}.png;{name}" for name in ("blue", "green", "red") for number in range(4)]
    table = labelled / "test" / "photos.csv"
    table.write_text("\n".join(["Datei;x", *rows]).replace("Datei;x", "file;label"), encoding="utf-16")
    archive = zip_folder(labelled, tmp_path / "photos.zip")
    measures = []
    for source in (labelled, archive, table):
        status, out, _ = run(colours, source, "--format", "json")
        found = json.loads(out)
        if source == labelled:
            assert [problem["kind"] for problem in found["problems"]] == ["not_pictures"]  # the table itself
        assert status == 0
        measures.append({name: found[name] for name in ("top_1", "log_loss", "classes", "mistakes")})
    table.unlink()
    assert measures[0] == measures[1] == measures[2]


def test_photos_that_cannot_be_read_are_named_and_the_status_is_1(run, colours, tmp_path):
    folder = draw_colours(tmp_path / "photos", ("test",))
    broken = folder / "test/red/0.png"
    broken.write_bytes(b"not a picture, but sixteen bytes")
    status, out, errors = run(colours, folder)
    assert status == 1
    assert out.splitlines()[1] == "photos             11 of the part test"
    (line,) = errors
    assert line.startswith(f"npconv evaluate: {broken}: ")
    assert line.count(str(broken)) == 1
    status, out, _ = run(colours, folder, "--format", "csv")
    *_, last = csv.DictReader(io.StringIO(out))
    assert status == 1
    assert (last["file"], last["label"], last["answer"]) == (str(broken), "", "")
    assert line.endswith(last["error"])


def test_what_is_odd_about_the_photos_is_said_each_in_its_words(run, colours, tmp_path):
    folder = draw_colours(tmp_path / "photos", ("test",))
    draw(folder / "test/unicorn/1.png", (1, 2, 3))
    draw(folder / "test/stray.png", (4, 5, 6))
    draw(folder / "test/blue/again.png", (255, 0, 0))  # as red/0.png
    (folder / "test/violet").mkdir()
    (folder / "notes.txt").write_text("no picture")
    status, out, errors = run(colours, folder)
    assert status == 1
    assert sorted(line.replace(f"{folder}{os.sep}", "").replace(os.sep, "/") for line in errors) == sorted(
        [
            "npconv evaluate: unicorn: the model has no such class; 1 photo of it is left out",
            "npconv evaluate: test/stray.png: lies in no folder of a class, so it is left out",
            "npconv evaluate: test/blue/again.png: is the same picture as test/red/0.png, which has another label, so "
            "both are left out",
            "npconv evaluate: test/red/0.png: is the same picture as test/blue/again.png, which has another label, so "
            "both are left out",
            "npconv evaluate: test/violet: there is no photo of this class, so it is left out",
            f"npconv evaluate: {folder}: 1 file left out, not pictures",
        ]
    )
    assert "11 of the part test" in out


def test_what_costs_no_photo_leaves_the_status_at_0(run, colours, tmp_path):
    folder = draw_colours(tmp_path / "photos", ("test",))
    (folder / "test/violet").mkdir()
    status, _, errors = run(colours, folder)
    assert (status, len(errors)) == (0, 1)


def test_the_same_words_are_said_ten_times_at_most(run, colours, labelled, tmp_path):
    rows = [f"{number}.jpg,red" for number in range(25)]
    table = tmp_path / "photos.csv"
    table.write_text("\n".join(["file,label", f"{labelled}/test/red/0.png,red", *rows]))
    status, _, errors = run(colours, table)
    assert status == 1
    assert len(errors) == 10 + 1
    assert errors[-1] == "npconv evaluate: 15 more like these (missing); --format json names all"
    _, out, _ = run(colours, table, "--format", "json")
    assert len(json.loads(out)["problems"]) == 25


def test_many_classes_are_cut_in_text_alone(run, tmp_path):
    names = {number: f"class {number}" for number in range(40)}
    model = colour_model(tmp_path / "model", id2label=names)
    for number in range(40):
        draw(tmp_path / "photos" / f"class {number}" / "1.png", (255, number, 0))
    status, out, _ = run(model, tmp_path / "photos", "--confusion", tmp_path / "c.png")
    lines = out.splitlines()
    assert status == 0
    assert lines[-1] == "and 10 more classes, all but the worst; --format json has them"
    assert sum(line.startswith("class ") for line in lines) == 31
    assert [line.split("  ")[0] for line in lines[2:4]] == ["top-1", "top-5"]
    _, out, _ = run(model, tmp_path / "photos", "--format", "json")
    assert len(json.loads(out)["classes"]) == 40


def test_one_class_is_measured(run, colours, tmp_path):
    draw(tmp_path / "photos/red/1.png", (255, 0, 0))
    status, out, errors = run(colours, tmp_path / "photos")
    assert (status, errors) == (0, [])
    assert "photos             1\n" in out
    assert "top-1              100.00 %  (20.65 to 100.00 % with a confidence of 95 %)" in out


def test_several_labels_and_numbers_have_tables_of_their_own(run, tmp_path):
    draw(tmp_path / "red.png", (255, 0, 0))
    draw(tmp_path / "yellow.png", (255, 255, 0))
    table = tmp_path / "photos.csv"
    table.write_text("file,red,green\nred.png,1,0\nyellow.png,1,1\n")
    model = colour_model(tmp_path / "labels", problem_type=MULTI)
    status, out, errors = run(model, table)
    assert (status, errors) == (0, [])
    lines = out.splitlines()
    assert lines[2] == "all labels right        100.00 %  (34.24 to 100.00 % with a confidence of 95 %)"
    assert lines[-2:] == [
        "green       1  100.0 %    100.0 %            100.0 %",
        "red         2  100.0 %    100.0 %            100.0 %",
    ]
    _, out, _ = run(model, table, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [(row["label: red"], row["label: green"], row["label: blue"]) for row in rows] == [
        ("1.0", "0.0", ""),
        ("1.0", "1.0", ""),
    ]
    table.write_text("file;redness\nred.png;1,5\nyellow.png;-1\n")
    model = colour_model(tmp_path / "numbers", problem_type=REGRESSION, id2label={0: "redness"})
    status, out, errors = run(model, table)
    assert (status, errors) == (0, [])
    assert out.splitlines()[-2].split() == [
        "number",
        "mean",
        "absolute",
        "error",
        "root",
        "mean",
        "squared",
        "error",
        "R",
        "squared",
    ]
    assert out.splitlines()[-1].startswith("redness")
    for option in (("--confusion", tmp_path / "c.png"), ("--mistakes", tmp_path / "m.png"), ("--card",)):
        status, _, errors = run(model, table, *option)
        assert status == 2
        assert errors == ["npconv: error: expected a model that tells one class for --confusion, --mistakes and --card"]


def test_pictures_are_drawn_and_written_over_only_if_they_are_its_own(run, colours, labelled, tmp_path):
    confusion, mistakes = tmp_path / "c.png", tmp_path / "m.png"
    words = (colours, labelled, "--confusion", confusion, "--mistakes", mistakes)
    assert run(*words)[0] == 0
    for path in (confusion, mistakes):
        with Image.open(path) as picture:
            assert (picture.format, picture.mode) == ("PNG", "RGB")
    assert run(*words)[0] == 0
    draw(confusion, (1, 2, 3))
    mistakes.write_text("mine")
    for path in (confusion, mistakes):
        option = f"--{'confusion' if path == confusion else 'mistakes'}"
        words = (colours, labelled, option, path)
        before = path.read_bytes()
        status, out, errors = run(*words)
        assert (status, out, path.read_bytes()) == (2, "", before)
        assert f"so it is not written over; give another {option}, or --force replaces it" in errors[0]
        assert run(*words, "--force")[0] == 0
        assert path.read_bytes() != before


def test_an_output_is_written_over_only_if_it_is_its_own(run, colours, labelled, tmp_path):
    path = tmp_path / "out.txt"
    for form in ("text", "json", "csv", "text"):
        status, out, errors = run(colours, labelled, "--format", form, "--output", path)
        assert (status, out, errors) == (0, "", [])
        assert path.read_text() == run(colours, labelled, "--format", form)[1]
    path.write_text("file,label\n")
    status, _, errors = run(colours, labelled, "--output", path)
    assert status == 2
    assert "was not written by this command, so it is not written over" in errors[0]
    assert path.read_text() == "file,label\n"
    table = labelled / "mine.csv"
    table.write_text(f"file,label\n{labelled}/test/red/0.png,red\n")
    status, _, errors = run(colours, table, "--output", table, "--force")
    table.unlink()
    assert status == 2
    assert "is read by the same call" in errors[0]


def test_the_card_of_the_model_gets_its_accuracy(run, tmp_path, labelled):
    model = colour_model(tmp_path / "model")
    (model / "README.md").write_text("# small\n\n## Accuracy\n\nnot known\n", encoding="utf-8")
    assert run(model, labelled, "--card")[0] == 0
    card = (model / "README.md").read_text(encoding="utf-8")
    assert "91.67 % top-1 on the 12 pictures of the test part" in card
    assert "with `npconv evaluate`" in card
    (model / "README.md").unlink()
    status, out, errors = run(model, labelled, "--card")
    assert status == 2
    assert "give the folder of a model with a model card" in errors[0]
    assert out == ""  # told before anything is computed


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("nothing", "no such folder or file; expected a folder of classes, a CSV or a zip file"),
        ("purple", "expected photos of the model's classes ('blue', 'green', 'red'); got 'purple'"),
        ("empty", "expected photos in a folder for each class, such as cat/1.jpg; found none"),
        ("purple/purple/1.png", "is a single picture"),
        ("broken.csv", "expected a column of files (file, path, image)"),
        ("broken.zip", "is not a whole zip file"),
    ],
)
def test_a_source_that_cannot_be_used_is_one_line_and_status_2(run, colours, tmp_path, source, reason):
    draw(tmp_path / "purple/purple/1.png", (99, 0, 99))
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.csv").write_text("id,breed\n1,dog\n")
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04 and no more")
    status, out, errors = run(colours, tmp_path / source)
    assert (status, out) == (2, "")
    (line,) = errors
    assert line.startswith("npconv: error: ")
    assert reason in line


def test_calls_that_make_no_sense_are_one_line_and_status_2(run, colours, labelled):
    for words, reason in (
        ((colours,), "the following arguments are required: PHOTOS"),
        (("no-such-model", labelled), "no model 'no-such-model'"),
        ((colours, labelled, "--part", "later"), "expected a part that is there (train, test), got 'later'"),
        ((colours, labelled, "--cache", "--dtype", "float64"), "--cache keeps weights for float32 on the CPU"),
        ((colours, labelled, "--format", "xml"), "invalid choice: 'xml'"),
    ):
        status, out, errors = run(*words)
        assert (status, out) == (2, "")
        assert reason in errors[0]


def test_a_model_without_classes_is_refused(run, labelled, tmp_path):
    config = npconv.ConvNextConfig(hidden_sizes=[3], depths=[1], num_stages=1, patch_size=1, num_labels=0)
    npconv.ConvNextForImageClassification(config).save_pretrained(tmp_path / "bare")
    npconv.ConvNextImageProcessor(size=4).save_pretrained(tmp_path / "bare")
    status, _, errors = run(tmp_path / "bare", labelled)
    assert status == 2
    assert "expected a model with classes, got one with num_labels 0" in errors[0]


def test_an_overflow_is_named_with_the_way_out(run, colours, labelled, tmp_path):
    loaded = npconv.AutoModelForImageClassification.from_pretrained(colours)
    loaded.classifier.weight[:] *= 6e4  # times the square root of 2 it is above 65504, the largest number of float16
    loaded.save_pretrained(tmp_path / "large")
    npconv.AutoImageProcessor.from_pretrained(colours).save_pretrained(tmp_path / "large")
    status, _, errors = run(tmp_path / "large", labelled, "--dtype", "float16")
    assert status == 2
    assert "numbers overflowed inside the model in float16; try --dtype float32" in errors[-1]
    assert run(tmp_path / "large", labelled)[0] == 0


def test_weights_with_nan_are_named(run, colours, labelled, tmp_path):
    loaded = npconv.AutoModelForImageClassification.from_pretrained(colours)
    loaded.classifier.bias[0] = np.nan
    loaded.save_pretrained(tmp_path / "broken")
    npconv.AutoImageProcessor.from_pretrained(colours).save_pretrained(tmp_path / "broken")
    status, out, errors = run(tmp_path / "broken", labelled)
    assert (status, out) == (2, "")
    assert "expected photos that can be read, got none" in errors[-1]
    assert "the weights hold NaN or infinity: 1 in classifier.bias" in errors[-1]
