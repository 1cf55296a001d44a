"""``npconv features``: what is in the file, and going on with one that is not finished."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from support.cli_samples import PHOTOS, picture, rewrite

from npconv import (
    AutoImageProcessor,
    AutoModel,
    AutoModelForImageClassification,
    ConvNextImageProcessor,
    CvtConfig,
    CvtForImageClassification,
)
from npconv.cli import main
from npconv.cli.features_file import LOG, FeaturesFile
from npconv.files.safetensors import load_file, read_metadata, save_file
from npconv.images import open_image

pytestmark = pytest.mark.long


def run(capsys, model: Path, *words: str) -> tuple[int, list[str]]:
    """Run the command; return its status and the lines of stderr."""
    status = main(["features", "--model", str(model), *words])
    output = capsys.readouterr()
    assert output.out == ""
    return status, output.err.splitlines()


def good(photos: list[str]) -> list[str]:
    return [photo for photo in photos if PHOTOS[os.path.basename(photo)] is None]


def pixel_values(model: Path, photos: list[str]) -> np.ndarray:
    processor = AutoImageProcessor.from_pretrained(model)
    return processor([open_image(photo) for photo in photos])["pixel_values"]


@pytest.mark.parametrize("sharing", [(), ("--workers", "2")])
def test_features_are_those_of_the_model(capsys, model, photos, tmp_path, sharing) -> None:
    out = tmp_path / "out.safetensors"
    words = ("--stages", "stage2,stem", "--pooled", "--batch-size", "2", *sharing)
    status, errors = run(capsys, model, *photos, "-o", str(out), *words)
    assert status == 1
    assert [error.split(": ")[1] for error in errors] == [photo for photo in photos if photo not in good(photos)]
    tensors, metadata = load_file(out), read_metadata(out)
    assert json.loads(metadata["files"]) == good(photos)
    assert [entry["file"] for entry in json.loads(metadata["failed"])] == [p for p in photos if p not in good(photos)]
    assert metadata["features"] == "stage2,stem,pooled"
    expected = AutoModel.from_pretrained(model)(pixel_values(model, good(photos)), output_hidden_states=True)
    assert set(tensors) == {"stem", "stage2", "pooled"}
    for name, array in {
        "stem": expected.hidden_states[0],
        "stage2": expected.hidden_states[2],
        "pooled": expected.pooler_output,
    }.items():
        assert tensors[name].dtype == np.float32
        # float32 and another order of sums; the values are of some units
        np.testing.assert_allclose(tensors[name], array, atol=1e-4)
    assert not os.path.exists(f"{out}.part")


def test_features_of_cvt(capsys, photos, tmp_path) -> None:
    config = CvtConfig(embed_dim=[6, 10, 12], num_heads=[1, 2, 3], depth=[1, 1, 2], num_labels=4)
    CvtForImageClassification(config).save_pretrained(tmp_path / "cvt")
    ConvNextImageProcessor(size=48).save_pretrained(tmp_path / "cvt")
    out = tmp_path / "out.safetensors"
    assert run(capsys, tmp_path / "cvt", photos[0], "-o", str(out), "--pooled", "--stages", "stage1")[0] == 0
    tensors = load_file(out)
    model = AutoModelForImageClassification.from_pretrained(tmp_path / "cvt")
    expected = model(pixel_values(tmp_path / "cvt", [photos[0]]), output_hidden_states=True)
    np.testing.assert_allclose(tensors["stage1"], expected.hidden_states[0], atol=1e-4)
    logits = tensors["pooled"] @ model.params["classifier"]["weight"].T + model.params["classifier"]["bias"]
    np.testing.assert_allclose(logits, expected.logits, atol=1e-4)


@pytest.mark.parametrize("words", [(), ("--stages", "stage1"), ("--pooled", "--stages", "stage1,stage1")])
def test_an_interrupted_run_goes_on(capsys, model, photos, tmp_path, words, monkeypatch) -> None:
    out, whole = str(tmp_path / "out"), str(tmp_path / "whole")
    assert run(capsys, model, *photos, photos[0], "-o", whole, *words, "--batch-size", "1")[0] == 1
    added = []

    def add(self, result):
        if len(added) == 4:
            raise KeyboardInterrupt
        added.append(result.file)
        return original(self, result)

    original = FeaturesFile.add
    monkeypatch.setattr(FeaturesFile, "add", add)
    assert run(capsys, model, *photos, photos[0], "-o", out, *words, "--batch-size", "1")[0] == 130
    monkeypatch.setattr(FeaturesFile, "add", original)
    assert not os.path.exists(out)
    for path in Path(f"{out}.part").iterdir():  # killed in the middle of writing: each file has too much, none is whole
        with path.open("ab") as file:
            file.write(b'{"file": "half')
    assert run(capsys, model, *photos, photos[0], "-o", out, *words, "--resume", "--batch-size", "1")[0] == 1
    assert Path(out).read_bytes() == Path(whole).read_bytes()


def test_a_finished_file_takes_more_photos(capsys, model, photos, tmp_path) -> None:
    out = str(tmp_path / "out")
    assert run(capsys, model, photos[0], photos[2], "-o", out)[0] == 1
    before = load_file(out)["pooled"].copy()
    assert run(capsys, model, photos[0], photos[2], photos[3], photos[8], "-o", out, "--resume") == (1, [])
    assert json.loads(read_metadata(out)["files"]) == [photos[0], photos[3], photos[8]]
    np.testing.assert_array_equal(load_file(out)["pooled"][:1], before)
    content = Path(out).read_bytes()
    assert run(capsys, model, photos[0], photos[2], photos[3], photos[8], "-o", out, "--resume") == (1, [])
    assert Path(out).read_bytes() == content


def test_a_part_that_ends_in_its_first_line_is_begun_anew(capsys, model, photos, tmp_path) -> None:
    out = tmp_path / "out"
    assert run(capsys, model, photos[0], "-o", str(out))[0] == 0
    (tmp_path / "out.part").mkdir()
    (tmp_path / "out.part" / LOG).write_text('{"mod')
    assert run(capsys, model, photos[0], photos[3], "-o", str(out), "--resume")[0] == 0
    assert json.loads(read_metadata(out)["files"]) == [photos[0], photos[3]]


def test_another_run_is_not_gone_on_with(capsys, model, photos, tmp_path) -> None:
    out = str(tmp_path / "out")
    assert run(capsys, model, photos[0], "-o", out)[0] == 0
    content = Path(out).read_bytes()
    status, errors = run(capsys, model, photos[0], "-o", out, "--resume", "--stages", "stage1")
    assert status == 2
    assert "expected an earlier run with features 'stage1', got 'pooled'" in errors[0]
    assert Path(out).read_bytes() == content
    assert run(capsys, model, photos[3], "-o", out)[0] == 0  # without --resume it is written anew
    assert json.loads(read_metadata(out)["files"]) == [photos[3]]


@pytest.mark.parametrize(
    "log",
    [
        b"nonsense\n",
        b"[]\n",
        b'{"model": 3}\n',
        b"ABOUT\n3\n",
        b'ABOUT\n{"file": "a"}\n',
        b'ABOUT\n{"file": "a", "shapes": {"../../x": [1]}}\n',
        b'ABOUT\n{"file": "a", "shapes": {"pooled": [1000000000000]}}\n',
        b'ABOUT\n{"file": "a", "shapes": {"pooled": ["x"]}}\n',
        b'ABOUT\n{"file": "a", "shapes": {"pooled": 3}}\n',
        b"[" * 100_000 + b"\n",
    ],
)
def test_a_damaged_part_is_one_error(capsys, model, photos, tmp_path, log) -> None:
    out = tmp_path / "out"
    folder = tmp_path / "out.part"
    folder.mkdir()
    about = {"model": str(model), "dtype": "float32", "features": "pooled"}
    (folder / LOG).write_bytes(log.replace(b"ABOUT", json.dumps(about).encode()))
    status, errors = run(capsys, model, photos[0], "-o", str(out), "--resume")
    assert status == 2
    assert len(errors) == 1
    assert errors[0].startswith(f"npconv: error: {out}: ")
    assert not out.exists()
    is_ours = log.startswith(b"ABOUT")  # otherwise nobody knows whose it is
    assert run(capsys, model, photos[0], "-o", str(out))[0] == (0 if is_ours else 2)
    assert folder.exists() != is_ours


def test_photos_of_other_sizes_are_left_out(capsys, own_model, photos, tmp_path) -> None:
    rewrite(own_model / "preprocessor_config.json", do_resize=False)
    picture(1).resize((24, 8)).save(tmp_path / "other.png")
    out = str(tmp_path / "out")
    status, errors = run(
        capsys, own_model, photos[0], str(tmp_path / "other.png"), photos[3], "-o", out, "--stages", "stem"
    )
    assert status == 1
    assert len(errors) == 1
    assert "other.png: stem is of shape [6, 2, 6], that of the first photo [6, 7, 10]" in errors[0]
    assert load_file(out)["stem"].shape == (2, 6, 7, 10)


def test_unusable_calls_are_one_line(capsys, model, photos, tmp_path) -> None:
    for words, reason in [
        (("-o", str(tmp_path / "x"), "--stages", "stage9"), "expected --stages to be some of stem,stage1,stage2; got"),
        (("-o", str(tmp_path / "x"), "--stages", ""), "got ''"),
        (("-o", str(tmp_path / "x"), "--workers", "2", "--scheduler", "y"), "expected --workers or --scheduler"),
        (("-o", "/proc/nowhere/x"), "cannot be written"),
        ((), "-o/--output"),
    ]:
        status, errors = run(capsys, model, photos[0], *words)
        assert (status, len(errors)) == (2, 1)
        assert reason in errors[0]


def test_a_model_without_its_weights_is_refused(capsys, own_model, photos, tmp_path) -> None:
    tensors = dict(load_file(own_model / "model.safetensors"))
    name = next(name for name in tensors if "dwconv" in name)
    del tensors[name]

    save_file(tensors, own_model / "model.safetensors")
    status, errors = run(capsys, own_model, photos[0], "-o", str(tmp_path / "out"))
    assert (status, len(errors)) == (2, 1)
    assert name in errors[0]
