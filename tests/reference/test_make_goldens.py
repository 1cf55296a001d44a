"""The golden files can be made again, byte by byte."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from npconv.files.safetensors import load_file, read_metadata, save_file
from weights_tools import make_goldens
from weights_tools.goldens import cases, draw

GOLDENS = Path(__file__).parents[1] / "goldens"
CASES = pytest.mark.parametrize("case", cases.model_cases(), ids=lambda case: case.name)


@pytest.mark.reference
@pytest.mark.parametrize("threads", ["1", "2"])
def test_files_are_made_again_byte_by_byte(capsys, threads):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    made_with = json.loads((GOLDENS / "manifest.json").read_text())["versions"]
    here = {"torch": torch.__version__, "transformers": transformers.__version__}
    before = torch.get_num_threads()
    try:
        status = make_goldens.main(["--check", "--threads", threads, str(GOLDENS)])
    finally:
        torch.set_num_threads(before)
    assert status == 0, f"{capsys.readouterr().out} (made with {made_with}, here are {here})"


@pytest.mark.reference
def test_a_changed_file_is_found(tmp_path, capsys, monkeypatch):
    pytest.importorskip("transformers")
    chosen = [case for case in cases.model_cases() if case.name in ("convnext-relu", "cvt-linear")]
    monkeypatch.setattr(make_goldens, "model_cases", lambda: chosen)
    make_goldens.main([str(tmp_path)])
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    data = (tmp_path / "convnext-relu.safetensors").read_bytes()
    assert manifest["cases"]["convnext-relu"]["sha256"] == hashlib.sha256(data).hexdigest()
    assert make_goldens.main(["--check", str(tmp_path)]) == 0
    assert "all 2 files are the same" in capsys.readouterr().out

    (tmp_path / "convnext-relu.safetensors").unlink()
    assert make_goldens.main(["--check", str(tmp_path)]) == 1
    assert "convnext-relu.safetensors: is not there\n1 of 2 files differ" in capsys.readouterr().out
    save_file({"x": np.zeros(2)}, tmp_path / "convnext-relu.safetensors")
    assert make_goldens.main(["--check", str(tmp_path)]) == 1
    assert "has other tensors" in capsys.readouterr().out

    monkeypatch.setattr(make_goldens, "model_cases", lambda: chosen[:1])
    make_goldens.main([str(tmp_path)])  # the file of a case that is gone goes too
    assert {path.name for path in tmp_path.iterdir()} == {"convnext-relu.safetensors", "manifest.json"}


@pytest.mark.reference
@CASES
def test_the_configuration_is_that_of_transformers(case):
    pytest.importorskip("transformers")
    from weights_tools.goldens import reference

    written = json.loads(json.dumps(make_goldens.describe(case)["config"]))
    theirs = json.loads(reference.config_class(case.family)(**case.fields).to_json_string(use_diff=False))
    bookkeeping = {"transformers_version", "dtype", "chunk_size_feed_forward", "is_encoder_decoder"}
    bookkeeping |= {"_name_or_path", "output_attentions"}
    own = {"num_labels"} | ({"hidden_act", "image_size"} if case.family == "cvt" else set())
    assert set(written) - own == set(theirs) - bookkeeping - own
    assert {name: written[name] for name in theirs if name in written} == {
        name: value for name, value in theirs.items() if name in written
    }


@pytest.mark.reference
@CASES
def test_transformers_as_it_is_runs_what_is_not_patched_and_nothing_else(case, monkeypatch):
    pytest.importorskip("transformers")
    from weights_tools.goldens import reference

    monkeypatch.delitem(reference.ACT2FN, "selu", raising=False)
    path = GOLDENS / f"{case.name}.safetensors"
    written, tensors = json.loads(read_metadata(path)["case"]), load_file(path)

    def distances():
        model = reference.as_it_is(case.family, case.task, written["config"]).double().eval()
        weights = {name[8:]: tensor for name, tensor in tensors.items() if name.startswith("weights.")}
        reference.load(model, weights)
        for name, actual in reference.run(model, tensors["pixel_values"]).items():
            if name != "last_hidden_state" or f"expected.{name}" in tensors:
                expected = tensors[f"expected.{name}"]
                yield np.abs(actual - expected).max() / np.abs(expected).max()

    if written["patched"] == []:
        assert max(distances()) <= 2.0**-36 + 1e-13  # the rounding of the file, and other last bits
    elif case.name == "cvt-quick_gelu":  # the field is passed over in silence
        assert max(distances()) > 1e-5
    else:
        with pytest.raises((AttributeError, IndexError, KeyError)):
            list(distances())


def test_cases_are_those_of_the_manifest():
    manifest = json.loads((GOLDENS / "manifest.json").read_text())
    assert [case.name for case in cases.model_cases()] == list(manifest["cases"])


def test_rounding_keeps_36_bits_and_no_negative_zero():
    values = np.array([1.9, -1 / 3, 1e-13, -1e-13, 0.0])
    rounded = make_goldens.rounded(values)
    assert np.abs(rounded - values).max() <= 2.0**-36
    np.testing.assert_array_equal(rounded * 2.0**35, np.round(rounded * 2.0**35))
    assert not np.signbit(rounded[3:]).any()
    np.testing.assert_array_equal(make_goldens.rounded(rounded), rounded)
    np.testing.assert_array_equal(make_goldens.rounded(np.zeros(3)), np.zeros(3))


def test_numbers_near_a_border_are_not_clear():
    step = 2.0**-35  # of numbers below 2
    assert make_goldens.is_clear(np.array([1.5, 0.25, 3 * step, 3.4 * step]))
    assert not make_goldens.is_clear(np.array([1.5, 3.5 * step]))
    assert not make_goldens.is_clear(np.array([1.5, -(3.5 + 1e-5) * step]))
    assert not make_goldens.is_clear(np.array([1.0, 0.25]))  # the next smaller largest number has another step
    for error in (-1e-15, 1e-15):  # what is clear rounds the same with its last bits changed
        values = np.array([1.5, 0.3, -0.7])
        assert make_goldens.is_clear(values)
        np.testing.assert_array_equal(make_goldens.rounded(values + error), make_goldens.rounded(values))


def test_drawn_numbers_leave_no_parameter_at_its_first_value():
    shapes = [
        ("a.norm.weight", (7,)),
        ("a.norm.bias", (7,)),
        ("a.grn.weight", (1, 1, 1, 7)),
        ("a.grn.bias", (1, 1, 1, 7)),
        ("a.layer_scale_parameter", (7,)),
        ("a.cls_token", (1, 1, 7)),
        ("a.running_mean", (7,)),
        ("a.running_var", (7,)),
        ("a.conv.weight", (5, 3, 2, 2)),
    ]
    drawn = draw.weights(draw.generator(0, "test"), shapes)
    for name, shape in shapes:
        values = drawn[name]
        assert (values.shape, values.dtype) == (shape, np.float16)
        assert ((values != 0) & (values != 1)).all()
        assert len(np.unique(values)) > 1
    assert (drawn["a.running_var"] > 0).all()
    again = draw.weights(draw.generator(0, "test"), reversed(shapes))
    assert all((again[name] == drawn[name]).all() for name in drawn)
    assert (draw.weights(draw.generator(0, "other"), shapes)["a.conv.weight"] != drawn["a.conv.weight"]).any()
