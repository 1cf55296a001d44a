"""``npconv classify`` inside this process."""

import csv
import io
import json
import math
import os
import shutil
import sys
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.cli_samples import LABELS, PHOTOS, classify, picture, rewrite
from support.picture_server import picture_server

from npconv import ConvNextConfig, ConvNextForImageClassification, ConvNextImageProcessor, pipeline
from npconv.api.classification import ImageClassificationPipeline
from npconv.cli import main
from npconv.cli import photos as photos_module
from npconv.files import safetensors
from npconv.images import inputs

Capsys = pytest.CaptureFixture[str]

#: A batch sums in another order than a single picture does: some units of float32, on scores of 0.1 to 1.
BATCH_TOLERANCE = 1e-5


def read(text: str, form: str) -> dict[str, tuple[list[str], list[float], str]]:
    """Return the entries of an output in their order: photo to labels, scores and error."""
    if form == "json":
        entries = json.loads(text)
        assert all(set(entry) in ({"file", "labels"}, {"file", "error"}) for entry in entries)
        rows = [(entry["file"], entry.get("labels", []), entry.get("error", "")) for entry in entries]
        return {file: ([e["label"] for e in found], [e["score"] for e in found], error) for file, found, error in rows}
    table = csv.DictReader(io.StringIO(text), strict=True)
    found = {}
    for row in table:
        labels = [value for name, value in row.items() if name.startswith("label_") and value]
        scores = [float(value) for name, value in row.items() if name.startswith("score_") and value]
        found[row["file"]] = (labels, scores, row["error"])
    return found


@pytest.mark.parametrize("form", ["text", "json", "csv"])
@pytest.mark.parametrize("batch_size", ["1", "3", "100"])
def test_broken_photos_are_named_and_the_others_classified(
    capsys: Capsys, model: Path, photos: list[str], form: str, batch_size: str
) -> None:
    status, out, errors = classify(capsys, model, *photos, "--format", form, "--batch-size", batch_size)
    assert status == 1
    broken = {photo: PHOTOS[os.path.basename(photo)] for photo in photos if PHOTOS[os.path.basename(photo)]}
    assert len(errors) == len(broken) == 3
    for line, (photo, reason) in zip(errors, broken.items(), strict=True):
        assert line.startswith(f"npconv classify: {photo}: ")
        assert line.count(photo) == 1
        assert reason in line
    readable = [photo for photo in photos if photo not in broken]
    if form == "text":
        assert [line.partition(": ")[0] for line in out.splitlines()] == readable
        return
    found = read(out, form)
    assert list(found) == photos
    classifier = pipeline(model=model)
    for photo, (labels, scores, error) in found.items():
        if photo in broken:
            assert (labels, scores) == ([], [])
            assert f"npconv classify: {photo}: {error}" in errors
        else:
            expected = classifier(photo)
            assert scores == pytest.approx([entry["score"] for entry in expected], abs=BATCH_TOLERANCE)
            assert labels == [shown(entry["label"], form) for entry in expected]


def shown(label: str, form: str) -> str:
    """A label as a format shows it."""
    return label if form == "json" else label.replace("\n", "\\n")


def test_text_is_a_line_a_photo_with_names_of_one_width(
    capsys: Capsys, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = ["a.png", "longer.png"]
    for name in names:
        picture(4).save(name)
    status, out, errors = classify(capsys, model, *names, "--top-k", "2")
    assert (status, errors) == (0, [])
    first, second = out.splitlines()
    best = pipeline(model=model)(names[0], top_k=2)
    expected = "  ".join(f"{shown(entry['label'], 'text')} {entry['score']:.1%}" for entry in best)
    assert first == f"a.png:      {expected}"
    assert second == f"longer.png: {expected}"


def test_photos_may_follow_options(capsys: Capsys, model: Path, photos: list[str]) -> None:
    _, out, _ = classify(capsys, model, photos[0], "--format", "json", photos[3])
    assert list(read(out, "json")) == [photos[0], photos[3]]


def test_what_follows_two_dashes_is_no_option(
    capsys: Capsys, model: Path, photos: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(photos[3], tmp_path / "--debug")
    _, out, _ = classify(capsys, model, photos[3], "--format", "json", "--", "--debug", photos[0])
    assert list(read(out, "json")) == [photos[3], os.path.join(".", "--debug"), photos[0]]
    assert classify(capsys, model, "--", "--debug")[0] == 0


@pytest.mark.parametrize("form", ["json", "csv"])
@pytest.mark.parametrize("top_k", [1, 4, 6, 1000])
def test_top_k(capsys: Capsys, model: Path, photos: list[str], form: str, top_k: int) -> None:
    status, out, _ = classify(capsys, model, photos[0], "--format", form, "--top-k", str(top_k))
    labels, scores, _ = read(out, form)[photos[0]]
    assert status == 0
    assert len(labels) == len(scores) == min(top_k, len(LABELS))
    assert scores == sorted(scores, reverse=True)
    if top_k >= len(LABELS):
        assert math.fsum(scores) == pytest.approx(1, abs=1e-12)  # softmax runs in float64
        assert sorted(labels) == sorted(shown(label, form) for label in LABELS)


def test_csv_has_the_same_columns_in_every_row(capsys: Capsys, model: Path, photos: list[str]) -> None:
    _, out, _ = classify(capsys, model, *photos, "--format", "csv", "--top-k", "2")
    rows = list(csv.reader(io.StringIO(out)))
    assert rows[0] == ["file", "label_1", "score_1", "label_2", "score_2", "error"]
    assert {len(row) for row in rows} == {6}
    assert len(out.splitlines()) == len(rows) == 1 + len(photos)


def test_exif_orientation_is_applied(capsys: Capsys, model: Path, tmp_path: Path) -> None:
    upright = picture(5)
    upright.save(tmp_path / "upright.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned by 90 degrees clockwise: stored turned the other way
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "plain.png")
    names = [str(tmp_path / name) for name in ("upright.png", "turned.png", "plain.png")]
    _, out, _ = classify(capsys, model, *names, "--format", "json")
    upright_entry, turned, plain = read(out, "json").values()
    assert turned[1] == pytest.approx(upright_entry[1], abs=BATCH_TOLERANCE)
    assert plain[1] != pytest.approx(upright_entry[1], abs=100 * BATCH_TOLERANCE)


ODD_NAMES = [
    "line\nbreak.png",
    "tab\t.png",
    "escape\x1b[31m.png",
    'quo"te, comma.png',
    "café.png",
    os.fsdecode(b"\xff.png"),
]


@pytest.mark.parametrize("form", ["text", "json", "csv"])
def test_odd_names_stay_on_one_line(capsys: Capsys, model: Path, tmp_path: Path, form: str) -> None:
    names = []
    for name in ODD_NAMES:
        try:
            (tmp_path / name).write_bytes(b"broken" if name == "tab\t.png" else png())
        except (OSError, UnicodeError):  # some systems refuse names that are no UTF-8
            continue
        names.append(str(tmp_path / name))
    assert len(names) >= 5
    status, out, errors = classify(capsys, model, *names, "--format", form)
    assert status == 1
    assert len(errors) == 1
    assert "tab\\t.png: not a picture" in errors[0]
    assert len(out.splitlines()) == {"text": len(names) - 1, "csv": len(names) + 1, "json": len(names) + 2}[form]
    assert (out + errors[0]).replace("\n", "").isprintable()
    if form == "json":
        assert list(read(out, form)) == names  # exactly, so that a program finds the files


def png() -> bytes:
    """The bytes of a picture file."""
    stream = io.BytesIO()
    picture(6).save(stream, "PNG")
    return stream.getvalue()


def test_a_photo_that_is_not_there(capsys: Capsys, model: Path) -> None:
    status, out, errors = classify(capsys, model, "nowhere.png")
    assert (status, out) == (1, "")
    assert errors == ["npconv classify: nowhere.png: cannot be opened (No such file or directory); check the path"]


def test_standard_input(capsys: Capsys, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(png())))
    status, out, errors = classify(capsys, model, "-")
    assert (status, errors) == (0, [])
    assert out.startswith("-: ")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO()))
    status, out, errors = classify(capsys, model, "-")
    assert status == 1
    assert errors == ["npconv classify: -: expected the content of a picture file, got no bytes"]
    monkeypatch.setattr("sys.stdin", None)
    status, _, errors = classify(capsys, model, "-")
    assert (status, errors) == (1, ["npconv classify: -: standard input is closed; give the path of a picture"])


def test_no_more_than_a_batch_of_photos_is_in_memory(
    capsys: Capsys, model: Path, photos: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    alive: list[weakref.ref] = []
    most = {"pictures": 0, "arrays": 0}
    printed: list[int] = []

    def count(thing: object, kind: str) -> None:
        alive[:] = [reference for reference in alive if reference() is not None] + [weakref.ref(thing)]
        most[kind] = max(most[kind], sum(isinstance(reference(), type(thing)) for reference in alive))

    def open_image(path: str, **options: object) -> Image.Image:
        printed.append(capsys.readouterr().out.count("\n"))
        opened = original_open(path, **options)
        count(opened, "pictures")
        return opened

    def prepare(self: ImageClassificationPipeline, image: str) -> np.ndarray:
        array = original_prepare(self, image)
        count(array, "arrays")
        return array

    original_open, original_prepare = inputs.open_image, ImageClassificationPipeline.prepare
    monkeypatch.setattr(inputs, "open_image", open_image)
    monkeypatch.setattr(ImageClassificationPipeline, "prepare", prepare)
    good = photos[0]
    assert main(["classify", "--model", str(model), "--batch-size", "4", *[good] * 30]) == 0
    assert most == {"pictures": 1, "arrays": 4}
    assert printed == ([0] * 4 + [4, 0, 0, 0] * 7)[:30]  # each batch is printed before the next one is read


@pytest.fixture
def fail(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[int], Exception | None]], None]:
    """Let the model fail: with the error, if any, that a function returns for a number of pictures."""

    def install(error_for: Callable[[int], BaseException | None]) -> None:
        def failing(self, pixel_values, **options):
            error = error_for(len(pixel_values))
            if error is not None:
                raise error
            return original(self, pixel_values, **options)

        original = ImageClassificationPipeline.run
        monkeypatch.setattr(ImageClassificationPipeline, "run", failing)

    return install


def test_a_batch_too_large_for_memory_runs_one_by_one(capsys: Capsys, model: Path, photos: list[str], fail) -> None:
    fail(lambda pictures: MemoryError() if pictures > 1 else None)
    status, out, errors = classify(capsys, model, photos[0], photos[2], photos[3])
    assert status == 1
    assert [line.partition(": ")[0].strip() for line in out.splitlines()] == [photos[0], photos[3]]
    assert len(errors) == 1  # of the empty file


def test_errors_of_the_model_are_named_for_each_photo(capsys: Capsys, model: Path, photos: list[str], fail) -> None:
    fail(lambda pictures: MemoryError())
    status, out, errors = classify(capsys, model, photos[0], photos[3], "--format", "json")
    assert status == 1
    assert errors == [
        f"npconv classify: {photo}: out of memory; use a smaller picture or model" for photo in (photos[0], photos[3])
    ]
    assert [entry[2] for entry in read(out, "json").values()] == ["out of memory; use a smaller picture or model"] * 2


def test_an_unexpected_error_of_the_model_is_named(capsys: Capsys, model: Path, photos: list[str], fail) -> None:
    fail(lambda pictures: ZeroDivisionError("a\nb"))
    status, _, errors = classify(capsys, model, photos[0])
    expected = f"npconv classify: {photos[0]}: unexpected ZeroDivisionError: a\\nb"
    assert (status, errors) == (1, [f"{expected}; --debug shows where"])
    status, _, errors = classify(capsys, model, photos[0], "--debug")
    assert (status, errors[0], errors[-1]) == (1, "Traceback (most recent call last):", expected)


@pytest.mark.parametrize("form", ["text", "json", "csv"])
def test_an_interruption_keeps_what_is_done(
    capsys: Capsys, model: Path, photos: list[str], fail: Callable, form: str
) -> None:
    calls: Iterator[BaseException | None] = iter([None, KeyboardInterrupt()])
    fail(lambda pictures: next(calls))
    good = [photos[0], photos[3], photos[0]]
    status, out, errors = classify(capsys, model, *good, "--batch-size", "2", "--format", form)
    assert (status, errors) == (130, ["npconv: interrupted"])
    if form == "text":
        assert len(out.splitlines()) == 2
    else:
        assert list(read(out, form)) == good[:2]  # the array of JSON is closed, too


def test_scores_that_are_no_numbers_are_an_error(capsys: Capsys, own_model: Path, photos: list[str]) -> None:
    tensors = dict(safetensors.load_file(own_model / "model.safetensors"))
    tensors["classifier.weight"] = tensors["classifier.weight"] * np.float32(np.inf)
    safetensors.save_file(tensors, own_model / "model.safetensors")
    status, out, errors = classify(capsys, own_model, photos[0], "--format", "json")
    assert status == 1
    assert errors == [
        "npconv: warning: the weights hold NaN or infinity: 60 in classifier.weight; take another file",
        f"npconv classify: {photos[0]}: the scores are not finite, as the weights hold NaN or infinity: "
        "60 in classifier.weight; take another file",
    ]
    assert json.loads(out)[0].keys() == {"file", "error"}


def test_scores_that_overflow_come_with_a_wider_dtype_that_holds_them(
    capsys: Capsys, own_model: Path, photos: list[str]
) -> None:
    tensors = dict(safetensors.load_file(own_model / "model.safetensors"))
    tensors["classifier.weight"] = tensors["classifier.weight"] * 0 + np.float32(3e38)
    safetensors.save_file(tensors, own_model / "model.safetensors")
    status, _, errors = classify(capsys, own_model, photos[0])
    assert status == 1
    assert errors[0].endswith("numbers overflowed inside the model in float32; try --dtype float64")
    assert classify(capsys, own_model, photos[0], "--dtype", "float64")[0] == 0


def test_without_resizing_photos_keep_their_sizes(
    capsys: Capsys, own_model: Path, photos: list[str], tmp_path: Path
) -> None:
    rewrite(own_model / "preprocessor_config.json", do_resize=False)
    picture(1).resize((24, 8)).save(tmp_path / "other.png")
    picture(1).resize((24, 3)).save(tmp_path / "small.png")  # less than the 8 rows that the model needs
    names = [photos[0], str(tmp_path / "other.png"), str(tmp_path / "small.png"), photos[3]]
    status, out, errors = classify(capsys, own_model, *names)
    assert status == 1
    assert [line.partition(": ")[0].strip() for line in out.splitlines()] == [names[0], names[1], names[3]]
    assert len(errors) == 1
    assert "small.png: expected pictures of at least 8 x 8 pixels" in errors[0]


def test_a_regression_is_no_percentage(capsys: Capsys, own_model: Path, photos: list[str]) -> None:
    rewrite(own_model / "config.json", problem_type="regression")
    status, out, _ = classify(capsys, own_model, photos[0], "--top-k", "1")
    best = pipeline(model=own_model)(photos[0], top_k=1)[0]
    assert status == 0
    assert out == f"{photos[0]}: {shown(best['label'], 'text')} {best['score']:.4g}\n"


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_dtype(capsys: Capsys, model: Path, photos: list[str], dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    used = []
    original = ImageClassificationPipeline.run
    monkeypatch.setattr(
        ImageClassificationPipeline,
        "run",
        lambda self, *args, **kwargs: used.append(self.model.dtype.name) or original(self, *args, **kwargs),
    )
    assert classify(capsys, model, photos[0], "--dtype", dtype)[0] == 0
    assert used == [dtype]


def test_a_device_that_is_not_there(
    capsys: Capsys, model: Path, photos: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    status, out, errors = classify(capsys, model, photos[0], "--device", "cuda")
    assert (status, out) == (2, "")
    assert len(errors) == 1
    assert errors[0].startswith("npconv: error: device 'cuda' needs CuPy: pip install ")


def test_a_grey_model(capsys: Capsys, tmp_path: Path, photos: list[str]) -> None:
    config = ConvNextConfig(num_channels=1, num_stages=1, hidden_sizes=[3], depths=[1], num_labels=1)
    ConvNextForImageClassification(config).save_pretrained(tmp_path)
    ConvNextImageProcessor(size=16, image_mean=[0.5], image_std=[0.2]).save_pretrained(tmp_path)
    status, out, errors = classify(capsys, tmp_path, photos[0], photos[4])
    assert (status, errors) == (0, [])
    assert out.count("LABEL_0 ") == 2


def test_a_weights_file_with_its_configuration_beside_it(capsys: Capsys, model: Path, photos: list[str]) -> None:
    of_folder = classify(capsys, model, photos[0])
    assert of_folder[0] == 0
    assert classify(capsys, model / "model.safetensors", photos[0]) == of_folder


class TestFolders:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        folder = tmp_path / "many"
        (folder / "sub").mkdir(parents=True)
        for name in ("10.png", "2.png", "sub/1.png"):
            (folder / name).write_bytes(png())
        (folder / "notes.txt").write_text("notes")
        (folder / ".hidden.png").write_bytes(png())
        return folder

    def test_pictures_in_natural_order_and_a_count_of_the_rest(
        self, capsys: Capsys, model: Path, photos: list[str], folder: Path
    ) -> None:
        status, out, errors = classify(capsys, model, "--format", "jsonl", photos[0], str(folder))
        expected = [
            photos[0],
            *(os.path.join(folder, name) for name in ("2.png", "10.png", os.path.join("sub", "1.png"))),
        ]
        assert [json.loads(line)["file"] for line in out.splitlines()] == expected
        assert (status, errors) == (0, [f"npconv classify: {folder}: 3 pictures; 1 file left out, not pictures"])

    def test_without_a_picture(self, capsys: Capsys, model: Path, folder: Path, photos: list[str]) -> None:
        for name in ("10.png", "2.png", "sub/1.png"):
            (folder / name).unlink()
        missing = str(folder / "missing")
        status, out, errors = classify(capsys, model, str(folder), missing, photos[0])
        assert (status, [line.split(":")[0] for line in out.splitlines()]) == (1, [photos[0]])  # the others go on
        assert errors[0] == (
            f"npconv classify: {folder}: expected pictures in this folder, found 1 file, none of them one; "
            "give another folder, or files"
        )
        assert errors[1].startswith(f"npconv classify: {missing}: ")


def test_a_photo_that_takes_too_much_memory(capsys: Capsys, model: Path, photos: list[str], tmp_path: Path) -> None:
    Image.new("RGB", (1000, 500)).save(tmp_path / "large.png")
    status, out, errors = classify(capsys, model, "--max-memory", "1", photos[0], str(tmp_path / "large.png"))
    assert (status, len(out.splitlines())) == (1, 1)
    assert "500 x 1000 pixels of PNG take about 4 MB to read, more than the 1 MB of max_memory" in errors[0]
    status, out, errors = classify(capsys, model, "--max-memory", "9", str(tmp_path / "large.png"))  # as advised
    assert (status, errors) == (0, [])


def test_a_photo_behind_a_url(capsys: Capsys, model: Path, photos: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with picture_server({"/photo": Path(photos[0]).read_bytes()}) as server:
        _, expected, _ = classify(capsys, model, photos[0])
        status, out, errors = classify(capsys, model, f"{server.url}/photo", f"{server.url}/none")
    assert (status, out.partition("photo: ")[2]) == (1, expected.removeprefix(f"{photos[0]}: "))
    reason = "cannot be fetched (HTTP 404 Not Found); check the URL and the network"
    assert errors == [f"npconv classify: {server.url}/none: {reason}"]


def test_a_traceback_is_there_whatever_happens_next(monkeypatch: pytest.MonkeyPatch) -> None:
    written = []
    monkeypatch.setattr(photos_module, "write", lambda *text, flush=False: written.append((*text, flush)))
    error = ZeroDivisionError("why")
    reason = "unexpected ZeroDivisionError: why"
    assert (
        photos_module.reason_of(error, photos_module.Photo("a", "a"), debug=False) == f"{reason}; --debug shows where"
    )
    assert written == []
    assert photos_module.reason_of(error, photos_module.Photo("a", "a"), debug=True) == reason
    assert written == [(sys.stderr, "ZeroDivisionError: why\n", True)]
