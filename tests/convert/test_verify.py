"""``python -m weights_tools verify``: each check ends as ok, failed, or with the reason why it could not be made."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from support.conversion_files import CONFIGS, STEPS, in_dialect, pickled_tensors, refusal, run
from support.families import MODULES

import npconv
from npconv.convert import convert, verify
from npconv.convert.verify import LOGITS_TOLERANCE, _run
from npconv.errors import ImageError, InputError
from npconv.files import safetensors
from npconv.files.checkpoint import load_checkpoint, save_checkpoint
from npconv.models import FAMILIES
from npconv.models.convnext import published
from npconv.models.parameters import count_parameters
from npconv.models.publishing import Architecture, Logits

pytestmark = pytest.mark.long

CHECKS = ["hashes", "configuration", "tensors", "parameter count", "numbers", "preprocessing", "published logits"]

#: Of the small model; not published.
SMALL = Architecture("small", {"depths": [1, 2, 1], "hidden_sizes": [3, 5, 7]}, 7, 0)
ARCHITECTURES = [
    (model_type, architecture)
    for model_type, family in FAMILIES.items()
    for architecture in family.part("published").ARCHITECTURES
]

#: With the 21,841 classes of ImageNet-22k, as published.
PARAMETERS_22K = {
    "ConvNeXt-T": 44_615_857,
    "ConvNeXt-S": 66_250_417,
    "ConvNeXt-B": 109_953_489,
    "ConvNeXt-L": 229_799_953,
    "ConvNeXt-XL": 392_900_177,
}


@pytest.fixture
def folder(tmp_path):
    """A converted ConvNeXt."""
    (tmp_path / "source").write_bytes(pickled_tensors(in_dialect("convnext", "facebook")))
    convert(tmp_path / "source", tmp_path / "o")
    return tmp_path / "o"


@pytest.fixture
def picture(tmp_path):
    pixels = np.random.default_rng(1).integers(0, 256, (300, 280, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "cats.png")
    return tmp_path / "cats.png"


def outcomes(directory, **options):
    checks = verify(directory, **options)
    return {check.name: (check.outcome, check.detail) for check in checks}


def test_all_is_well(capsys, folder):
    status, lines, errors = run(capsys, "verify", folder)
    assert (status, errors) == (0, [])
    assert [line.split(":")[0] for line in lines if ": " in line][:3] == CHECKS[:3]
    assert [line.split(": ")[0] for line in lines] == CHECKS
    assert "hashes: ok: SHA-256 of 3 files as in npconv_manifest.json" in lines
    count = len(in_dialect("convnext", "facebook"))
    assert f"tensors: ok: {count} parameters filled once each, nothing left over" in lines
    assert any(line.startswith("parameter count: could not be checked: no convnext of depths") for line in lines)
    assert lines[-1].startswith("published logits: could not be checked: none are known for this model")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "preprocessor_config.json"])
def test_a_changed_file(capsys, folder, name):
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content + b" " if name.endswith("json") else content[:-1] + bytes([content[-1] ^ 1]))
    outcome, detail = outcomes(folder)["hashes"]
    assert (outcome, detail) == ("failed", f"changed since the conversion: {name!r}")
    assert run(capsys, "verify", folder)[0] == 1
    (folder / name).unlink()
    assert outcomes(folder)["hashes"] == ("failed", f"lacking: {name!r}")
    assert run(capsys, "verify", folder)[0] == 1


@pytest.mark.parametrize("files", [None, {}, [], {"../config.json": "x"}, {"/etc/hostname": "x"}])
def test_damaged_manifests(folder, files):
    content = json.loads((folder / "npconv_manifest.json").read_text())
    content["files"] = files
    (folder / "npconv_manifest.json").write_text(json.dumps(content))
    assert outcomes(folder)["hashes"] == ("failed", "npconv_manifest.json has no list of files")


def test_without_a_manifest(folder):
    (folder / "npconv_manifest.json").write_text("no JSON")
    assert outcomes(folder)["hashes"][0] == "failed"
    (folder / "npconv_manifest.json").unlink()
    assert outcomes(folder)["hashes"][0] == "could not be checked"


def test_tensors_that_do_not_fit(folder):
    tensors = {name: np.array(value) for name, value in load_checkpoint(folder).items()}
    del tensors["classifier.bias"]
    save_checkpoint(folder, tensors | {"extra": np.zeros(3, np.float32)})
    outcome, detail = outcomes(folder)["tensors"]
    assert outcome == "failed"
    assert "lacks" in detail
    assert "'extra'" in detail


def test_numbers_that_are_none(folder):
    tensors = {name: np.array(value) for name, value in load_checkpoint(folder).items()}
    tensors["classifier.bias"][1:3] = np.nan
    save_checkpoint(folder, tensors)
    assert outcomes(folder)["numbers"] == ("failed", "NaN or infinity: 2 in classifier.bias")


def test_weights_that_cannot_be_read(capsys, folder):
    (folder / "model.safetensors").write_bytes(b"\0" * 100)
    found = outcomes(folder)
    assert found["tensors"][0] == found["numbers"][0] == "failed"
    (folder / "config.json").write_text("{}")
    assert outcomes(folder)["configuration"][0] == "failed"
    status, lines, errors = run(capsys, "verify", folder)
    assert (status, errors, len(lines)) == (1, [], 2)


def test_no_folder(capsys, folder):
    assert "is none" in refusal(capsys, "verify", folder / "config.json")
    assert "is none" in refusal(capsys, "verify", folder / "none")
    assert "invalid choice" in refusal(capsys, "verify", folder, "--name", "x")
    assert "got an empty text" in refusal(capsys, "verify", "")


def test_preprocessing(folder):
    (folder / "preprocessor_config.json").write_text('{"size": "large"}')
    assert outcomes(folder)["preprocessing"][0] == "failed"
    (folder / "preprocessor_config.json").unlink()
    assert outcomes(folder)["preprocessing"][0] == "could not be checked"


def test_parameters_as_published(folder, monkeypatch):
    """The table is of 1000 classes: another number has as many rows of the classifier more or fewer."""
    own = count_parameters(MODULES["convnext"].image_classification_shapes(CONFIGS["convnext"]))
    monkeypatch.setattr(published, "ARCHITECTURES", (replace(SMALL, parameters=own + 996 * 8),))
    outcome, detail = outcomes(folder)["parameter count"]
    assert (outcome, detail) == ("ok", f"{own:,}, as the published model has with 4 classes")
    monkeypatch.setattr(published, "ARCHITECTURES", (replace(SMALL, parameters=own),))
    assert outcomes(folder)["parameter count"][0] == "failed"


@pytest.mark.parametrize(("model_type", "architecture"), ARCHITECTURES, ids=[a.name for _, a in ARCHITECTURES])
@pytest.mark.parametrize("classes", [1000, 21_841, 10])
def test_the_table(model_type, architecture, classes):
    """The published numbers are those of the shapes, without any weights."""
    fields = {**architecture.fields, **architecture.shape}
    config = FAMILIES[model_type].config_class(**fields, num_labels=classes)
    count = count_parameters(getattr(MODULES[model_type], f"{FAMILIES[model_type].main_task}_shapes")(config))
    assert architecture.count(classes) == count
    assert classes != 21_841 or PARAMETERS_22K.get(architecture.name, count) == count


def first_logits(folder, picture, **fields):
    processor = npconv.AutoImageProcessor.from_pretrained(folder)
    model = npconv.AutoModelForImageClassification.from_pretrained(folder, **fields)
    return model(**processor(npconv.images.open_image(picture))).logits[0, :3]


def publish(monkeypatch, logits, torchvision=9.0, **fields):
    """Make a checkpoint of the small model known."""
    values = {"Pillow": tuple(map(float, logits)), "torchvision": (torchvision,) * 3}
    monkeypatch.setattr(published, "LOGITS", (Logits("org/name", SMALL, values, fields),))


def test_the_tables_of_published_models_are_one():
    """Every architecture that shapes are compared with has its number of parameters, every checkpoint its logits."""
    for family in FAMILIES.values():
        part = family.part("published")
        assert all(architecture.parameters for architecture in part.ARCHITECTURES)
        assert {logits.name for logits in part.LOGITS} <= {checkpoint.name for checkpoint in part.CHECKPOINTS}
        assert all(logits.architecture in part.ARCHITECTURES for logits in part.LOGITS)


def test_logits_need_the_picture(folder, monkeypatch):
    publish(monkeypatch, [0, 0, 0])
    outcome, detail = outcomes(folder, name="org/name")["published logits"]
    assert outcome == "could not be checked"
    assert "--picture" in detail


def test_logits_as_published(folder, picture, monkeypatch):
    logits = first_logits(folder, picture)
    publish(monkeypatch, logits + np.array([0, 1.5e-4, 0]))
    outcome, detail = outcomes(folder, name="org/name", picture=picture)["published logits"]
    assert outcome == "ok"
    assert detail.endswith("1.5e-04 from those of org/name with the resizing of Pillow")
    publish(monkeypatch, logits + np.array([0, 2.5e-4, 0]))
    outcome, detail = outcomes(folder, name="org/name", picture=picture)["published logits"]
    assert outcome == "failed"
    assert "2.5e-04 from those of org/name (0.0002 allowed)" in detail


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_logits_are_computed_in_float32_whatever_is_stored(tmp_path, picture, dtype):
    """The counters of batch norms stay whole numbers."""
    tensors = in_dialect("cvt", "microsoft")
    tensors |= {name: np.abs(value) for name, value in tensors.items() if name.endswith("running_var")}
    (tmp_path / "source").write_bytes(pickled_tensors(tensors))
    convert(tmp_path / "source", tmp_path / "o", dtype=dtype, **STEPS)
    assert _run(tmp_path / "o", Image.open(picture), {}).dtype == np.float32


def test_as_far_as_is_allowed_is_as_published(folder, picture, monkeypatch):
    logits = first_logits(folder, picture)
    publish(monkeypatch, np.float64(logits))
    monkeypatch.setitem(verify.__globals__, "LOGITS_TOLERANCE", 0.0)
    assert outcomes(folder, name="org/name", picture=picture)["published logits"][0] == "ok"


def test_which_resizing_is_said(folder, picture, monkeypatch):
    logits = first_logits(folder, picture)
    values = {"Pillow": tuple(logits + 1), "torchvision": tuple(map(float, logits))}
    monkeypatch.setattr(published, "LOGITS", (Logits("org/name", SMALL, values),))
    assert outcomes(folder, name="org/name", picture=picture)["published logits"][1].endswith("of torchvision")


def test_the_name_in_the_manifest_counts(tmp_path, folder, picture, monkeypatch):
    publish(monkeypatch, [0, 0, 0])
    convert(tmp_path / "source", tmp_path / "named", name="org/name")
    assert outcomes(tmp_path / "named", picture=picture)["published logits"][0] == "failed"
    assert outcomes(folder, picture=picture)["published logits"][0] == "could not be checked"


def test_another_model_of_the_same_architecture_is_no_failure(tmp_path, picture, monkeypatch):
    """A thousand classes and the depths and widths of a published model, but nothing that says it is that model."""
    config = npconv.ConvNextConfig(hidden_sizes=[3, 5, 7], depths=[1, 2, 1], num_stages=3, num_labels=1000)
    npconv.ConvNextForImageClassification(config).save_pretrained(tmp_path / "o")
    npconv.ConvNextImageProcessor(size=64).save_pretrained(tmp_path / "o")
    publish(monkeypatch, [3, 3, 3])
    monkeypatch.setattr(published, "ARCHITECTURES", (SMALL,))
    outcome, detail = outcomes(tmp_path / "o", picture=picture)["published logits"]
    assert outcome == "could not be checked"
    assert "nothing says that these are its weights" in detail
    publish(monkeypatch, first_logits(tmp_path / "o", picture))
    assert outcomes(tmp_path / "o", picture=picture)["published logits"][0] == "ok"


def test_a_picture_that_is_none(capsys, folder, tmp_path):
    """A mistake of the caller, not of the model."""
    (tmp_path / "x.png").write_bytes(b"no picture")
    for name in ("x.png", "none.png"):
        with pytest.raises(ImageError):
            verify(folder, picture=tmp_path / name)
        assert name in refusal(capsys, "verify", folder, "--picture", tmp_path / name)


def test_a_name_without_published_logits(folder):
    with pytest.raises(InputError, match="expected the name of a checkpoint with published logits"):
        verify(folder, name="org/other")


def test_a_cvt_as_it_was_trained_is_compared_with_gelu(tmp_path, picture, monkeypatch):
    """The published logits of CvT are those of transformers, which computes gelu whatever hidden_act says."""
    tensors = in_dialect("cvt", "microsoft")
    tensors |= {name: np.abs(value) for name, value in tensors.items() if name.endswith("running_var")}
    (tmp_path / "source").write_bytes(pickled_tensors(tensors))
    folder = tmp_path / "o"
    convert(tmp_path / "source", folder, **STEPS)
    config = json.loads((folder / "config.json").read_text())
    assert config["hidden_act"] == "quick_gelu"
    own = first_logits(folder, picture)
    gelu = first_logits(folder, picture, hidden_act="gelu")
    assert np.abs(own - gelu).max() > 2 * LOGITS_TOLERANCE
    publish(monkeypatch, gelu, hidden_act="gelu")
    outcome, detail = outcomes(folder, name="org/name", picture=picture)["published logits"]
    assert outcome == "ok"
    assert "with gelu in the place of this model's quick_gelu" in detail
    publish(monkeypatch, own, hidden_act="gelu")
    assert outcomes(folder, name="org/name", picture=picture)["published logits"][0] == "failed"


def test_a_downloaded_folder_without_architectures(folder):
    fields = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**fields, "architectures": None}))
    assert outcomes(folder)["tensors"][0] == "ok"
    (folder / "config.json").write_text(json.dumps({**fields, "architectures": ["os.system"]}))
    assert outcomes(folder)["tensors"][0] == "ok"


def test_shards(tmp_path):
    safetensors.save_file(in_dialect("convnextv2", "timm"), tmp_path / "x")
    convert(tmp_path / "x", tmp_path / "o", max_shard_size=3000)
    found = outcomes(tmp_path / "o")
    assert found["hashes"][0] == found["tensors"][0] == found["numbers"][0] == "ok"
