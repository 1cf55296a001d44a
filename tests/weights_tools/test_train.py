"""Training: reading labelled pictures and splitting them; with PyTorch, whole small runs."""

import io
import json
import zipfile
from pathlib import Path
from types import SimpleNamespace

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


@pytest.mark.parametrize("outer", ["", "fruit/", "data/train-set/"])
def test_folder_and_zip_give_the_same_pictures(tmp_path, outer):
    files = {outer + name: content for name, content in picture_files().items()}
    files |= {outer + "README.md": b"about", "__MACOSX/train/apple/._0.png": b"no picture", ".hidden.png": b"neither"}
    folder = pictures.read_dataset(write_folder(tmp_path / "f", files), 8)
    packed = pictures.read_dataset(write_zip(tmp_path / "f.zip", files), 8)
    assert folder.classes == packed.classes == sorted(COLOURS)
    for part in ("train", "test"):
        ours, theirs = getattr(folder, part), getattr(packed, part)
        assert ours.pixels.shape == (9, 8, 8, 3)
        assert ours.pixels.dtype == np.uint8
        np.testing.assert_array_equal(ours.pixels, theirs.pixels)
        np.testing.assert_array_equal(ours.labels, [0, 0, 0, 1, 1, 1, 2, 2, 2])
    np.testing.assert_array_equal(folder.train.pixels[4, 0, 0], [25, 165, 45])


def test_classes_without_parts_are_split_by_seed(tmp_path):
    folder = write_folder(tmp_path, picture_files(parts=("",), count=10))
    first = pictures.read_dataset(folder, 8, held_out=0.3, seed=1)
    again = pictures.read_dataset(folder, 8, held_out=0.3, seed=1)
    np.testing.assert_array_equal(np.bincount(first.train.labels), [7, 7, 7])
    np.testing.assert_array_equal(np.bincount(first.test.labels), [3, 3, 3])
    np.testing.assert_array_equal(first.test.pixels, again.test.pixels)
    seen = {tuple(pixel) for part in (first.train, first.test) for pixel in part.pixels[:, 0, 0].tolist()}
    assert len(seen) == 30
    others = [pictures.read_dataset(folder, 8, held_out=0.3, seed=seed).test.pixels for seed in range(2, 6)]
    assert any((other != first.test.pixels).any() for other in others)


def test_other_sizes_are_scaled_and_centre_cropped(tmp_path):
    wide = Image.new("RGB", (90, 30), (255, 0, 0))
    wide.paste((0, 0, 255), (30, 0, 60, 30))
    square = pictures.fit_to_square(wide, 10)
    assert square.shape == (10, 10, 3)
    np.testing.assert_array_equal(square[:, 2:8], np.broadcast_to(np.uint8([0, 0, 255]), (10, 6, 3)))
    grey = pictures.fit_to_square(Image.new("L", (5, 7), 90), 5)
    np.testing.assert_array_equal(grey, np.full((5, 5, 3), 90))


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "found none"),
        ({"1.png": b""}, "one folder a class"),
        ({"train/a/1.png": b"", "b/1.png": b""}, "below train/ or test/"),
        ({"train/a/1.png": b"", "train/b/1.png": b"", "test/a/1.png": b""}, r"only in one of them: \['b'\]"),
        ({"a/1.png": b"", "b/1.png": b"", "b/2.png": b""}, "'a' has 1"),
    ],
)
def test_sources_without_a_training_set_are_refused(tmp_path, files, message):
    with pytest.raises(InputError, match=message):
        pictures.read_dataset(write_folder(tmp_path, files), 8)


def test_a_source_that_is_no_folder_or_zip_is_refused(tmp_path):
    text = tmp_path / "text.zip"
    text.write_text("no archive")
    for path in (text, tmp_path / "missing"):
        with pytest.raises(InputError, match="expected a folder or a zip file"):
            pictures.read_dataset(path, 8)


@pytest.mark.parametrize("content", [b"", b"no picture", picture_file((1, 2, 3))[:40]])
def test_a_broken_picture_is_named(tmp_path, content):
    files = picture_files() | {"train/leaf/bad.png": content}
    for source in (write_folder(tmp_path / "f", files), write_zip(tmp_path / "f.zip", files)):
        with pytest.raises(ImageError, match=r"train/leaf/bad\.png"):
            pictures.read_dataset(source, 8)


def test_a_zip_entry_with_wrong_checksum_is_named(tmp_path):
    path = write_zip(tmp_path / "f.zip", picture_files())
    content = bytearray(path.read_bytes())
    content[content.index(b"IHDR") + 5] ^= 255
    path.write_bytes(content)
    with pytest.raises(ImageError, match="damaged"):
        pictures.read_dataset(path, 8)


def test_a_zip_entry_too_large_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    path = write_zip(tmp_path / "f.zip", picture_files())
    monkeypatch.setattr(pictures, "LARGEST_FILE", 10)
    monkeypatch.setattr(zipfile.ZipFile, "read", lambda *_: pytest.fail("was read"))
    with pytest.raises(ImageError, match="at most 10 bytes"):
        pictures.read_dataset(path, 8)


def test_split_off_takes_its_share_of_each_class():
    data = pictures.Pictures(np.arange(60, dtype=np.uint8).reshape(60, 1, 1, 1), np.repeat([0, 1, 2], 20))
    kept, taken = pictures.split_off(data, 0.1, seed=3)
    np.testing.assert_array_equal(np.bincount(taken.labels), [2, 2, 2])
    values = np.concatenate([kept.pixels.ravel(), taken.pixels.ravel()])
    np.testing.assert_array_equal(np.sort(values), np.arange(60))
    assert len(pictures.split_off(data, 0.0, seed=3)[1]) == 0


def test_colour_statistics_are_those_of_numpy():
    pixels = np.random.default_rng(2).integers(0, 200, (7, 5, 6, 3), dtype=np.uint8)
    mean, std = pictures.colour_statistics(pixels)
    scaled = pixels / 255
    np.testing.assert_allclose(mean, scaled.mean(axis=(0, 1, 2)), atol=5.1e-5)  # rounded to 4 decimals
    np.testing.assert_allclose(std, scaled.std(axis=(0, 1, 2)), atol=5.1e-5)


@pytest.mark.parametrize("arguments", [["--widths", "8,x"], ["--depths", "0,1"], ["--family", "resnet"]])
def test_options_that_make_no_sense_end_with_status_2(arguments, capsys):
    with pytest.raises(SystemExit) as error:
        train.main(["source", "directory", *arguments])
    assert error.value.code == 2
    assert "error: argument" in capsys.readouterr().err


SMALL = ["--widths", "4,6,8", "--depths", "1,2,3", "--size", "16", "--early-size", "16", "--early-epochs", "1"]
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
    assert "--learning-rate" not in command  # as it would be anyway
    assert "- Data: three colours, 6 pictures to train on, 3 more to watch the progress on, 9 to test on." in card
    assert "- The first 1 epochs saw 16 x 16 pixels.\n- Variations" in card
    assert _dtypes(target / "model.safetensors") <= {"F16", "I64"}


def stop_after(epochs, loop, monkeypatch):
    """Stop a training when the checkpoint of so many epochs is written."""
    write = loop.write_checkpoint

    def write_and_stop(path, progress, epochs_done, share_done):
        write(path, progress, epochs_done, share_done)
        if epochs_done == epochs:
            raise KeyboardInterrupt

    monkeypatch.setattr(loop, "write_checkpoint", write_and_stop)


@pytest.mark.reference
def test_a_stopped_run_goes_on_to_the_same_weights(tmp_path, monkeypatch):
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from weights_tools.training import loop

    source = write_folder(tmp_path / "source", picture_files())
    arguments = [*SMALL, "--epochs", "3"]
    assert train.main([str(source), str(tmp_path / "whole"), *arguments]) == 0
    stop_after(1, loop, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
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
    (tmp_path / "target" / "checkpoint.pt").write_bytes(b"something else")
    assert train.main([str(source), str(tmp_path / "target"), *SMALL, "--epochs", "1", "--resume"]) == 2
    assert "expected a checkpoint of this network" in capsys.readouterr().err


@pytest.mark.reference
def test_calls_that_cannot_train_end_with_one_line(tmp_path, capsys):
    torch = pytest.importorskip("torch")
    pytest.importorskip("transformers")
    source = str(write_folder(tmp_path / "source", picture_files()))
    target = str(tmp_path / "target")
    for arguments, message in [
        ([source, target, "--depths", "1,2"], "one width and one depth a stage"),
        ([source, target, *SMALL, "--batch-size", "100"], "at least one batch of 100"),
        ([source, target, *SMALL, "--epochs", "0"], "epochs of at least 1"),
        ([source, target, *SMALL, "--cover", "1.5"], "from 0 to 1 for cover"),
        ([source, target, *SMALL, "--minutes", "-1"], "minutes of at least 0"),
        *([] if torch.cuda.is_available() else [([source, target, *SMALL, "--device", "cuda"], "try --device cpu")]),
        ([source, target, *SMALL, "--family", "cvt", "--depths", "1,2,1"], "try 1,2,3"),
        ([target, target, *SMALL], "expected a folder or a zip file"),
    ]:
        assert train.main(arguments) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1


#: The number of epochs does not matter then.
BY_THE_CLOCK = [*SMALL, "--minutes", "0.5", "--early-epochs", "0", "--epochs", "1"]


def note_shares(loop, monkeypatch):
    """Make an epoch take one second; return the list that gets the share of the training done before each step."""
    clock = iter(range(10**6))  # two readings an epoch
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    shares = []
    monkeypatch.setattr(loop, "learning_rate", lambda *arguments: shares.append(arguments[2]) or 0.001)
    return shares


@pytest.mark.reference
def test_a_training_by_the_clock_ends_with_the_lowest_rate(tmp_path, monkeypatch, capsys):
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from weights_tools.training import loop

    shares = note_shares(loop, monkeypatch)
    source = write_folder(tmp_path / "source", picture_files())
    assert train.main([str(source), str(tmp_path / "target"), *BY_THE_CLOCK]) == 0
    assert "epoch 16/16" in capsys.readouterr().out  # of 30 seconds, and the last is not cut off
    card = (tmp_path / "target" / "README.md").read_text()
    assert "- 16 epochs of" in card
    assert "The first" not in card
    assert shares == sorted(shares)
    assert shares[0] == 0
    assert 0.8 < shares[-1] < 1


@pytest.mark.reference
def test_a_training_by_the_clock_goes_on_where_it_was_stopped(tmp_path, monkeypatch):
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from weights_tools.training import loop

    shares = note_shares(loop, monkeypatch)
    arguments = [str(write_folder(tmp_path / "source", picture_files())), str(tmp_path / "target"), *BY_THE_CLOCK]
    with monkeypatch.context() as patch:
        stop_after(10, loop, patch)
        with pytest.raises(KeyboardInterrupt):
            train.main(arguments)
    stopped_at = shares[-1]
    assert 0 < stopped_at < 0.9
    shares.clear()
    assert train.main([*arguments, "--resume"]) == 0
    assert shares[0] > stopped_at
    assert 0.8 < shares[-1] < 1
    assert max(np.diff(shares)) < 0.1  # the rate falls by no jump


def _dtypes(path: Path) -> set[str]:
    """Return the types of the tensors in a safetensors file."""
    content = path.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return {entry["dtype"] for name, entry in header.items() if name != "__metadata__"}
