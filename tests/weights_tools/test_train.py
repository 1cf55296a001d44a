"""Training: reading labelled pictures and splitting them; with PyTorch, whole small runs."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from npconv.errors import ImageError, InputError
from weights_tools import train
from weights_tools.training import pictures

COLOURS = {"apple": (200, 30, 20), "leaf": (20, 160, 40), "sea": (10, 40, 190)}


def picture_file(colour, size=(8, 8)):
    """Return the bytes of a PNG of one colour."""
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "PNG")
    return buffer.getvalue()


def picture_files(*, parts=("train", "test"), count=3):
    """Return {name: bytes} of a training set in which the brightness tells the pictures of a class apart."""
    return {
        "/".join(filter(None, (part, name, f"{number}.png"))): picture_file(tuple(c + 5 * number for c in colour))
        for part in parts
        for name, colour in COLOURS.items()
        for number in range(count)
    }


def write_folder(path, files):
    for name, content in files.items():
        target = path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return path


def write_zip(path, files):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def read(source, folder, size=8, watch=0.0, seed=0):
    return pictures.read_dataset(source, size, folder, watch=watch, seed=seed)


def test_the_parts_of_a_training_set(tmp_path):
    dataset = read(write_zip(tmp_path / "f.zip", picture_files()), tmp_path)
    assert dataset.classes == tuple(sorted(COLOURS))
    assert dataset.watch is None
    for part in (dataset.train, dataset.test):
        assert part.pixels.shape == (9, 3, 8, 8)
        np.testing.assert_array_equal(part.targets, [0, 0, 0, 1, 1, 1, 2, 2, 2])
    np.testing.assert_array_equal(dataset.train.pixels[4, :, 0, 0], [25, 165, 45])


def test_a_share_is_kept_apart_and_what_has_no_parts_is_divided(tmp_path):
    folder = write_folder(tmp_path / "f", picture_files(parts=("",), count=20))
    dataset = read(folder, tmp_path, watch=0.3, seed=1)
    counts = [np.bincount(part.targets).tolist() for part in (dataset.train, dataset.watch, dataset.test)]
    assert counts == [[12] * 3, [5] * 3, [3] * 3]
    pixels = np.concatenate([part.pixels for part in (dataset.train, dataset.watch, dataset.test)])
    assert len(np.unique(pixels[:, :, 0, 0], axis=0)) == 60
    np.testing.assert_array_equal(read(folder, tmp_path, watch=0.3, seed=1).test.pixels, dataset.test.pixels)


def test_pictures_are_normalised_by_the_colours_of_those_to_train_on(tmp_path):
    dataset = read(write_folder(tmp_path / "f", picture_files()), tmp_path)
    ((x, _),) = dataset.train.batches(20)
    np.testing.assert_allclose(x.mean((0, 2, 3)), 0, atol=1e-3)  # mean and deviation have 4 decimals
    np.testing.assert_allclose(x.std((0, 2, 3)), 1, atol=1e-3)


def test_a_source_without_pictures_is_refused(tmp_path):
    with pytest.raises(InputError):
        read(tmp_path, tmp_path)


def test_a_broken_picture_is_named(tmp_path):
    files = picture_files() | {"train/leaf/bad.png": picture_file((1, 2, 3))[:40]}
    with pytest.raises(ImageError, match=r"bad\.png: .*; leave it out"):
        read(write_folder(tmp_path / "f", files), tmp_path)


def test_colour_statistics_are_those_of_numpy():
    pixels = np.random.default_rng(2).integers(0, 200, (7, 3, 5, 6), dtype=np.uint8)
    mean, std = pictures.colour_statistics(pixels)
    scaled = pixels / 255
    np.testing.assert_allclose(mean, scaled.mean(axis=(0, 2, 3)), atol=5.1e-5)  # rounded to 4 decimals
    np.testing.assert_allclose(std, scaled.std(axis=(0, 2, 3)), atol=5.1e-5)


@pytest.mark.parametrize("arguments", [["--widths", "8,x"], ["--depths", "0,1"], ["--family", "resnet"]])
def test_options_that_make_no_sense_end_with_status_2(arguments, capsys):
    with pytest.raises(SystemExit) as error:
        train.main(["source", "directory", *arguments])
    assert error.value.code == 2
    assert "error: argument" in capsys.readouterr().err


SMALL = ["--widths", "4,6,8", "--depths", "1,2,3", "--size", "16"]
SMALL += ["--batch-size", "4", "--watch", "0.3", "--threads", "1"]


@pytest.mark.reference
@pytest.mark.parametrize("family", train.FIELDS)
def test_a_small_run_writes_what_transformers_loads(tmp_path, family, capsys):
    pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    source = write_folder(tmp_path / "source", picture_files())
    target = tmp_path / "small"
    name = ["--data-name", "three colours"]
    assert train.main([str(source), str(target), "--family", family, "--epochs", "2", *SMALL, *name]) == 0
    assert "accuracy on the test part" in capsys.readouterr().out
    model, report = transformers.AutoModelForImageClassification.from_pretrained(target, output_loading_info=True)
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert model.config.id2label == dict(enumerate(sorted(COLOURS)))
    preprocessing = json.loads((target / "preprocessor_config.json").read_text())
    assert preprocessing["size"] == {"shortest_edge": 16}
    card = (target / "README.md").read_text()
    assert "# small" in card
    command = card.split("Command:\n\n    ")[1].splitlines()[0]
    assert command.startswith("python -m weights_tools.train ")
    assert f" small --family {family} --widths " in command or family == "convnextv2"
    assert "--data-name" not in command
    assert "--rate" not in command  # as it would be anyway
    assert "- Data: three colours, 6 pictures to train on, 3 more to choose the best epoch by, 9 to test on." in card
    assert _dtypes(target / "model.safetensors") <= {"F16", "I64"}


@pytest.mark.reference
@pytest.mark.parametrize("family", ["convnextv2", "cvt"])
def test_a_stopped_run_goes_on_to_the_same_weights(tmp_path, monkeypatch, family):
    pytest.importorskip("torch")
    pytest.importorskip("transformers")

    def stop(epoch):
        raise SystemExit(1)

    source = write_folder(tmp_path / "source", picture_files())
    arguments = [*SMALL, "--epochs", "3", "--family", family]
    assert train.main([str(source), str(tmp_path / "whole"), *arguments]) == 0
    with monkeypatch.context() as patch:
        patch.setattr(train, "say_epoch", stop)
        with pytest.raises(SystemExit):
            train.main([str(source), str(tmp_path / "parts"), *arguments])
    assert not (tmp_path / "parts" / "model.safetensors").exists()
    assert train.main([str(source), str(tmp_path / "parts"), *arguments, "--resume"]) == 0
    whole, parts = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "parts"))
    assert whole == parts


@pytest.mark.reference
def test_a_checkpoint_of_something_else_is_refused(tmp_path, capsys):
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    source = write_folder(tmp_path / "source", picture_files())
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "checkpoint.safetensors").write_bytes(b"something else")
    assert train.main([str(source), str(tmp_path / "target"), *SMALL, "--epochs", "1", "--resume"]) == 2
    assert "expected a checkpoint of a training" in capsys.readouterr().err


@pytest.mark.reference
def test_calls_that_cannot_train_end_with_one_line(tmp_path, capsys):
    torch = pytest.importorskip("torch")
    pytest.importorskip("transformers")
    source = str(write_folder(tmp_path / "source", picture_files()))
    target = str(tmp_path / "target")
    for arguments, message in [
        ([source, target, "--depths", "1,2"], "one width and one depth a stage"),
        ([source, target, *SMALL, "--epochs", "0"], "epochs to be at least 1"),
        ([source, target, *SMALL, "--cover", "1.5"], "from 0 to 1 for cover"),
        *([] if torch.cuda.is_available() else [([source, target, *SMALL, "--device", "cuda"], "try --device cpu")]),
        ([source, target, *SMALL, "--family", "cvt", "--depths", "1,2,1"], "try 1,2,3"),
        ([f"{target}/none", target, *SMALL], "no such folder or file"),
    ]:
        assert train.main(arguments) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1


def _dtypes(path: Path) -> set[str]:
    """Return the types of the tensors in a safetensors file."""
    content = path.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return {entry["dtype"] for name, entry in header.items() if name != "__metadata__"}
