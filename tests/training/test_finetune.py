"""From labelled photos to a folder that loads: the head alone."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.labelled_pictures import zip_folder

import npconv
from npconv.errors import InputError
from npconv.files.locks import is_left
from npconv.images import open_image
from npconv.training.evaluate import evaluate
from npconv.training.finetune import NAMES, Watch, finetune
from npconv.training.parts import train_and_validation
from npconv.training.problems import Problem

COLOURS = {"blue": (20, 40, 190), "green": (20, 160, 40), "red": (200, 30, 20)}

#: What the head alone writes.
WRITTEN = {
    "config.json", "model.safetensors", "preprocessor_config.json", "README.md", "finetune.json", "confusion.png",
    "mistakes.png",
}  # fmt: skip


def draw_photos(folder: Path, names=tuple(COLOURS), count: int = 8, seed: int = 0) -> Path:
    """Photos of noise around a colour, in a folder for each."""
    rng = np.random.default_rng(seed)
    for name in names:
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            pixels = np.array(COLOURS[name]) + rng.integers(0, 50, (16, 20, 3))
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{number}.png")
    return folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NPCONV_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def photos(tmp_path):
    return draw_photos(tmp_path / "photos")


@pytest.fixture
def model(tmp_path):
    """A small model to begin with, of other classes."""
    config = npconv.ConvNextV2Config(
        num_stages=3, hidden_sizes=[6, 8, 10], depths=[1, 1, 1], initializer_range=0.5, num_labels=5, patch_size=2
    )
    npconv.ConvNextV2ForImageClassification(config).save_pretrained(tmp_path / "small")
    npconv.ConvNextImageProcessor(size=12, crop_pct=1.0).save_pretrained(tmp_path / "small")
    return tmp_path / "small"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def done(photos, model, tmp_path):
    return finetune(photos, tmp_path / "made", model=model)


def test_the_folder_is_a_model_that_loads_and_answers(done, photos):
    assert set(contents(done.directory)) == WRITTEN <= set(NAMES)
    loaded = npconv.AutoModelForImageClassification.from_pretrained(done.directory)
    assert loaded.config.id2label == dict(enumerate(COLOURS))
    assert loaded.config.label2id == {name: number for number, name in enumerate(COLOURS)}
    assert loaded.config.problem_type == "single_label_classification"
    classify = npconv.pipeline(model=str(done.directory))
    for name in COLOURS:
        assert classify(str(photos / name / "0.png"))[0]["label"] == name


def test_what_is_said_of_it_is_what_npconv_evaluate_finds(done):
    """Features that were kept, and a head folded into float32, give what the model gives that was written."""
    found = evaluate(done.directory, done.evaluation.photos)
    assert found.answers.answer.tolist() == done.evaluation.answers.answer.tolist()
    np.testing.assert_allclose(found.answers.loss, done.evaluation.answers.loss, rtol=1e-4, atol=1e-6)
    said = json.loads((done.directory / "finetune.json").read_text())["evaluation"]
    assert said["top_1"]["right"] == int(found.answers.is_right.sum())
    assert said["photos"] == 6  # a fifth of 8 in each of 3 classes is 2


def test_the_same_call_writes_the_same_bytes(done, photos, model, tmp_path):
    again = finetune(photos, tmp_path / "again" / "made", model=model)
    first, second = contents(done.directory), contents(again.directory)
    assert first["finetune.json"].replace(b"again/", b"") == second["finetune.json"].replace(b"again/", b"")
    for name in WRITTEN - {"finetune.json"}:
        assert first[name] == second[name], name
    other = finetune(photos, tmp_path / "other" / "made", model=model, seed=1)
    assert other.train.files != done.train.files


def test_as_few_stages_are_kept_as_asked_for(photos, model, tmp_path):
    done = finetune(photos, tmp_path / "made", model=model, stages=2)
    config = npconv.AutoConfig.from_pretrained(done.directory)
    assert (config.num_stages, config.hidden_sizes, config.depths) == (2, [6, 8], [1, 1])
    assert [choice.stages for choice in done.choices] == [2]
    found = evaluate(done.directory, done.evaluation.photos)
    np.testing.assert_allclose(found.answers.loss, done.evaluation.answers.loss, rtol=1e-4, atol=1e-6)
    with pytest.raises(InputError, match="expected stages to be one of 1, 2, 3, after which this model can end; got 4"):
        finetune(photos, tmp_path / "other", model=model, stages=4)


def test_stages_are_left_off_while_the_loss_becomes_smaller(done):
    losses = {choice.stages: choice.comparison.loss for choice in done.choices}
    best = min(losses, key=losses.get)
    assert done.choices[0].stages == best == npconv.AutoConfig.from_pretrained(done.directory).num_stages
    assert set(losses) == set(range(max(1, best - 1), 4))  # from the last to the first that was worse


def test_the_card_says_what_was_done(done):
    card = (done.directory / "README.md").read_text()
    right = int(done.evaluation.answers.is_right.sum())
    for said in (
        "# made\n",
        "tells which of 3 classes is in a photo: blue, green, red.",
        "photos: 18 photos to train on, 6 photos to validate with.",
        "drawn from each class by seed 0",
        f"{100 * right / 6:.2f} % top-1 on the 6 photos to validate with",
        "![What each class is taken for](confusion.png)",
        "npconv finetune photos -o made --model ",
        "npconv classify --model made photo.jpg",
    ):
        assert said in card, said


def test_the_card_shows_names_as_they_are(photos, model, tmp_path):
    """No markup and no HTML comes of them, and the lines to copy are right."""
    (photos / "red").rename(photos / "<b>*red* rose|`x`")
    done = finetune(photos, tmp_path / "it's my model", model=model)
    card = (done.directory / "README.md").read_text()
    assert r"a photo: \<b\>\*red\* rose\|\`x\`, blue, green." in card
    assert r"| \<b\>\*red\* rose\|\`x\` | " in card
    assert "<b>" not in card
    assert """npconv classify --model 'it'"'"'s my model' photo.jpg""" in card
    assert """model="it's my model")(""" in card


def test_a_part_validation_is_taken_and_a_part_test_left_alone(tmp_path, model):
    for part, count in (("train", 6), ("val", 3), ("test", 2)):
        draw_photos(tmp_path / "parts" / part, count=count, seed=count)
    done = finetune(tmp_path / "parts", tmp_path / "made", model=model)
    assert (len(done.train), len(done.evaluation.photos)) == (18, 9)
    assert not done.was_split
    with pytest.raises(InputError, match="expected no share to validate with, as the photos have a part validation"):
        finetune(tmp_path / "parts", tmp_path / "other", model=model, validation=0.5)


def test_other_photos_validate_whatever_the_order_of_their_classes(photos, model, tmp_path):
    others = draw_photos(tmp_path / "others", names=("red", "blue"), count=3, seed=5)
    done = finetune(photos, tmp_path / "made", model=model, validation=others)
    assert len(done.train) == 24
    assert done.evaluation.photos.targets.tolist() == [0] * 3 + [2] * 3
    assert done.evaluation.answers.is_right.all()
    assert "The photos to validate with are those of others." in (done.directory / "README.md").read_text()


def test_a_zip_file_gives_the_same_as_the_folder_in_it(done, photos, model, tmp_path):
    again = finetune(zip_folder(photos, tmp_path / "photos.zip"), tmp_path / "zipped", model=model)
    assert contents(again.directory)["model.safetensors"] == contents(done.directory)["model.safetensors"]
    np.testing.assert_array_equal(again.evaluation.answers.loss, done.evaluation.answers.loss)


def test_near_duplicates_are_named(photos, model, tmp_path):
    others = draw_photos(tmp_path / "others", count=3, seed=5)
    Image.open(photos / "red" / "4.png").save(others / "red" / "copy.bmp")
    done = finetune(photos, tmp_path / "made", model=model, validation=others)
    said = json.loads((done.directory / "finetune.json").read_text())["duplicates"]
    found = [(Path(each["file"]).name, Path(each["of"]).parts[-2:]) for each in said if each["likeness"] > 0.999]
    assert ("copy.bmp", ("red", "4.png")) in found
    assert "`copy.bmp` and `4.png`" in (done.directory / "README.md").read_text()


def test_photos_that_cannot_be_read_are_left_out_and_named(photos, model, tmp_path):
    (photos / "red" / "3.png").write_bytes(b"no picture at all, but long enough")
    seen: list[Problem] = []

    class Seeing(Watch):
        def problems(self, problems):
            seen.extend(problems)

    done = finetune(photos, tmp_path / "made", model=model, watch=Seeing())
    assert [Path(problem.file).name for problem in seen if problem.kind == "unreadable"] == ["3.png"]
    assert len(done.train) + len(done.evaluation.photos) == 23
    assert "3.png" in (done.directory / "README.md").read_text()


@pytest.mark.long
@pytest.mark.parametrize("kind", ["workers", "another executor"])
def test_shared_work_makes_the_same_model(done, photos, model, tmp_path, kind):
    """Heads are fitted by others then; what is in a file of this process is not asked of an executor of any kind."""
    with ThreadPoolExecutor(2) as pool:
        workers = 2 if kind == "workers" else pool
        again = finetune(photos, tmp_path / "again", model=model, workers=workers, cache=False)
    assert [choice.stages for choice in again.choices] == [choice.stages for choice in done.choices]
    assert [each.place for each in again.duplicates] == [each.place for each in done.duplicates]
    first, second = (npconv.AutoModelForImageClassification.from_pretrained(each.directory) for each in (done, again))
    # Features are those of float32 sums in other batches, 1e-6 apart; the way to the optimum is nearly the same.
    np.testing.assert_allclose(
        second.params["classifier"]["weight"], first.params["classifier"]["weight"], rtol=1e-3, atol=1e-3
    )


def test_it_is_told_how_many_heads_are_fitted(photos, model, tmp_path):
    seen: list[tuple[int | None, str] | int | None] = []

    class Seeing(Watch):
        def begin(self, total, unit):
            seen.append((total, unit))

        def advance(self, count):
            seen.append(count)

        def end(self):
            seen.append(None)

    done = finetune(photos, tmp_path / "made", model=model, watch=Seeing())
    begin = seen.index((None, "heads fitted"))
    assert seen[:begin][0] == (24, "photos")
    assert sum(each for each in seen[1 : begin - 1]) == 24
    assert seen[begin - 1] is seen[-1] is None
    # one for each part of cross-validation, and the one that is kept
    assert sum(seen[begin + 1 : -1]) == 1 + 5 * sum(len(choice.comparison.tried) for choice in done.choices)


def write_table(folder: Path, header: str, rows: list[str]) -> Path:
    (folder / "photos.csv").write_text("\n".join([header, *rows]) + "\n")
    return folder / "photos.csv"


def test_several_labels_a_photo(photos, model, tmp_path):
    rows = [f"photos/{name}/{number}.png,{int(name == 'red')},{number % 2}" for name in COLOURS for number in range(8)]
    done = finetune(write_table(tmp_path, "file,red,odd", rows), tmp_path / "made", model=model)
    config = npconv.AutoConfig.from_pretrained(done.directory)
    assert config.problem_type == "multi_label_classification"
    assert config.id2label == {0: "red", 1: "odd"}
    scores = npconv.pipeline(model=str(done.directory))(str(photos / "red" / "0.png"), top_k=None)
    assert {score["label"]: score["score"] > 0.5 for score in scores}["red"]
    np.testing.assert_allclose(
        evaluate(done.directory, done.evaluation.photos).scores, done.evaluation.scores, atol=1e-5
    )
    assert "tells which of 2 labels a photo has: red, odd" in (done.directory / "README.md").read_text()


def test_a_number_a_photo(photos, model, tmp_path):
    red = {name: colour[0] for name, colour in COLOURS.items()}
    rows = [f"photos/{name}/{number}.png,{red[name] / 100}" for name in COLOURS for number in range(8)]
    done = finetune(write_table(tmp_path, "file,redness", rows), tmp_path / "made", model=model)
    config = npconv.AutoConfig.from_pretrained(done.directory)
    assert (config.problem_type, config.num_labels) == ("regression", 1)
    for name in ("red", "blue"):
        (answer,) = npconv.pipeline(model=str(done.directory))(str(photos / name / "0.png"))
        assert answer["label"] == "redness"
        assert answer["score"] == pytest.approx(red[name] / 100, abs=0.3)
    assert set(contents(done.directory)) == WRITTEN - {"confusion.png", "mistakes.png"}


def test_a_cvt_keeps_its_stages(photos, tmp_path):
    config = npconv.CvtConfig(embed_dim=[6, 10, 12], num_heads=[1, 2, 3], depth=[1, 2, 3], num_labels=3)
    npconv.CvtForImageClassification(config).save_pretrained(tmp_path / "cvt")
    npconv.ConvNextImageProcessor(size=32, crop_pct=1.0).save_pretrained(tmp_path / "cvt")
    done = finetune(photos, tmp_path / "made", model=tmp_path / "cvt")
    assert npconv.AutoConfig.from_pretrained(done.directory).embed_dim == [6, 10, 12]
    with pytest.raises(InputError, match="expected stages to be one of 3, after which this model can end; got 2"):
        finetune(photos, tmp_path / "other", model=tmp_path / "cvt", stages=2)
    found = evaluate(done.directory, done.evaluation.photos)
    np.testing.assert_allclose(found.answers.loss, done.evaluation.answers.loss, rtol=1e-4, atol=1e-6)


def test_nothing_of_the_users_is_replaced(photos, model, tmp_path):
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "README.md").write_text("mine")
    with pytest.raises(InputError, match=r"holds README\.md already; choose another folder, or --force replaces them"):
        finetune(photos, tmp_path / "made", model=model)
    (tmp_path / "made" / "README.md").rename(tmp_path / "made" / "notes.md")
    finetune(photos, tmp_path / "made", model=model)
    assert (tmp_path / "made" / "notes.md").read_text() == "mine"
    before = contents(tmp_path / "made")
    with pytest.raises(InputError, match="already; choose another folder"):
        finetune(photos, tmp_path / "made", model=model, seed=1)
    assert contents(tmp_path / "made") == before
    finetune(photos, tmp_path / "made", model=model, seed=1, force=True)
    assert contents(tmp_path / "made")["model.safetensors"] != before["model.safetensors"]
    assert (tmp_path / "made" / "notes.md").read_text() == "mine"


@pytest.mark.parametrize("place", ["photos", "photos/model", "small", "small/new"])
def test_nothing_is_written_where_the_call_reads(photos, model, tmp_path, place):
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match="which the call reads; give another folder"):
        finetune(photos, tmp_path / place, model=model, force=True)
    assert sorted(tmp_path.rglob("*")) == before


class Stopping(Watch):
    """Ctrl-C in the middle of the photos."""

    def advance(self, count: int) -> None:
        raise KeyboardInterrupt


def test_whatever_ends_it_nothing_unfinished_is_left(photos, model, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        finetune(photos, tmp_path / "made", model=model, watch=Stopping())
    assert not (tmp_path / "made").exists()
    assert not [path for path in tmp_path.iterdir() if is_left(path.name)]


def test_one_class_is_told(tmp_path, model):
    draw_photos(tmp_path / "photos", names=("red",))
    with pytest.raises(InputError, match=r"expected photos of two classes or more, .* got \d of 'red' alone"):
        finetune(tmp_path / "photos", tmp_path / "made", model=model)


def test_a_class_that_loses_its_photos_is_told(tmp_path, model):
    photos = draw_photos(tmp_path / "photos", names=("red", "blue"))
    for file in (photos / "blue").iterdir():
        file.write_bytes(b"no picture at all, but long enough")
    with pytest.raises(InputError, match=r"expected photos of two classes or more, .* got \d of 'red' alone"):
        finetune(photos, tmp_path / "made", model=model)


def test_photos_none_of_which_can_be_read_are_told(photos, model, tmp_path):
    for number, file in enumerate(photos.rglob("*.png")):
        file.write_bytes(b"no picture at all, but long enough" + bytes([number]))
    with pytest.raises(InputError, match=r"expected photos that can be read in both parts, got none in one: .*\.png"):
        finetune(photos, tmp_path / "made", model=model)


def test_a_source_with_nothing_to_train_on_is_told(tmp_path):
    draw_photos(tmp_path / "photos" / "test")
    draw_photos(tmp_path / "photos" / "val")
    with pytest.raises(InputError, match="expected a part train, got validation, test alone"):
        train_and_validation(tmp_path / "photos", None)


def test_many_classes_with_few_photos(tmp_path, model):
    rng = np.random.default_rng(0)
    for number in range(20):
        folder = tmp_path / "photos" / f"class {number}"
        folder.mkdir(parents=True)
        for place in range(1 + number % 2):
            pixels = rng.integers(0, 256, (9, 9, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{place}.png")
    done = finetune(tmp_path / "photos", tmp_path / "made", model=model)
    assert npconv.AutoConfig.from_pretrained(done.directory).num_labels == 20
    assert sum(problem.kind == "one_photo" for problem in done.problems) == 10


@pytest.mark.reference
@pytest.mark.parametrize(
    ("family", "stages"), [("convnext", 2), ("convnext", 3), ("convnextv2", 2), ("convnextv2", 3), ("cvt", 3)]
)
def test_transformers_loads_what_is_written(photos, tmp_path, family, stages):
    import torch
    import transformers

    staged = {"num_stages": 3, "hidden_sizes": [6, 8, 10], "depths": [1, 1, 1], "patch_size": 2}
    configs = {
        "convnext": npconv.ConvNextConfig(**staged),
        "convnextv2": npconv.ConvNextV2Config(**staged),
        "cvt": npconv.CvtConfig(embed_dim=[6, 10, 12], num_heads=[1, 2, 3], depth=[1, 2, 3]),
    }
    config = configs[family]
    kind = getattr(npconv, type(config).__name__.replace("Config", "ForImageClassification"))
    kind(config).save_pretrained(tmp_path / "begin")
    npconv.ConvNextImageProcessor(size=32, crop_pct=1.0).save_pretrained(tmp_path / "begin")
    done = finetune(photos, tmp_path / "made", model=tmp_path / "begin", stages=stages)
    theirs = transformers.AutoModelForImageClassification.from_pretrained(done.directory).eval()
    assert theirs.config.id2label == dict(enumerate(COLOURS))
    assert theirs.config.problem_type == "single_label_classification"
    ours = npconv.AutoModelForImageClassification.from_pretrained(done.directory)
    pictures = [open_image(file) for file in done.evaluation.photos.files]
    pixel_values = npconv.AutoImageProcessor.from_pretrained(done.directory)(pictures)["pixel_values"]
    with torch.no_grad():
        expected = theirs(torch.from_numpy(pixel_values)).logits.numpy()
    np.testing.assert_allclose(ours(pixel_values).logits, expected, atol=1e-4, rtol=1e-4)
