"""What is said of files that do not fit, or whose numbers mean nothing: each advice is followed in its test."""

from __future__ import annotations

import re
import shlex

import numpy as np
import pytest
from PIL import Image
from support.builders import BARE_MODELS, CLASSIFIERS, CONFIGS, filled_model, pictures

import npconv
from npconv.cli.program import main
from npconv.convert import convert
from npconv.convert.dialects import dialect
from npconv.convert.translate import from_hugging_face
from npconv.errors import ConfigError, InputError, NpconvWarning, WeightsError
from npconv.files.safetensors import load_file, save_file

pytestmark = pytest.mark.long


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "model"
    config = npconv.ConvNextConfig.from_dict(CONFIGS["convnext"].to_dict())
    config.id2label = dict(enumerate(["cat", "dog", "emu", "fox"]))
    filled_model(CLASSIFIERS["convnext"], config).save_pretrained(path)
    npconv.ConvNextImageProcessor(size=24).save_pretrained(path)
    return path


def rewrite(folder, change):
    """Write the tensors of a folder anew; return what its model computed before."""
    before = npconv.AutoModelForImageClassification.from_pretrained(folder)(pictures()).logits
    save_file(change(dict(load_file(folder / "model.safetensors"))), folder / "model.safetensors")
    return before


def refusal(folder, **options):
    with pytest.raises(WeightsError) as caught:
        npconv.AutoModelForImageClassification.from_pretrained(folder, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module.", "model._orig_mod."])
@pytest.mark.parametrize("strict", [True, False])
def test_a_wrapped_file_is_never_random_and_the_command_that_is_named_converts_it(folder, tmp_path, prefix, strict):
    before = rewrite(folder, lambda tensors: {prefix + name: tensor for name, tensor in tensors.items()})
    message = refusal(folder, strict=strict)
    assert "strict=False" not in message
    words = shlex.split(re.search(r"npconv (convert .*) FOLDER", message)[1])
    assert main([*words, str(tmp_path / "new")]) == 0
    after = npconv.AutoModelForImageClassification.from_pretrained(tmp_path / "new")(pictures()).logits
    np.testing.assert_array_equal(after, before)


def test_only_a_head_may_be_missing(folder):
    rewrite(folder, lambda tensors: {n: t for n, t in tensors.items() if not n.startswith("classifier")})
    assert "; pass strict=False to load what fits" in refusal(folder)
    with pytest.warns(NpconvWarning, match="never trained: classifier.weight, classifier.bias"):
        npconv.AutoModelForImageClassification.from_pretrained(folder, strict=False)


@pytest.mark.parametrize("family", CONFIGS)
def test_a_block_that_is_missing_is_an_error_even_if_not_strict(tmp_path, family):
    filled_model(BARE_MODELS[family], CONFIGS[family]).save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    tensors = dict(load_file(path))
    name = max(tensors)
    save_file({n: t for n, t in tensors.items() if n != name}, path)
    for model_class in (BARE_MODELS[family], CLASSIFIERS[family]):
        with pytest.raises(WeightsError, match=re.escape(name)) as caught:
            model_class.from_pretrained(tmp_path, strict=False)
        assert "strict=False" not in str(caught.value)


def test_weights_in_8_bits_are_never_taken_as_numbers(folder):
    def quantise(tensors):
        scales = {f"{n}_scale": np.float32([0.01]) for n, t in tensors.items() if t.ndim > 1}
        return {n: (t * 100).astype(np.int8) if t.ndim > 1 else t for n, t in tensors.items()} | scales

    rewrite(folder, quantise)
    for strict in (True, False):
        message = refusal(folder, strict=strict)
        assert "quantised weights" in message
        assert "astype" not in message
    rewritten = {n: t for n, t in load_file(folder / "model.safetensors").items() if not n.endswith("_scale")}
    save_file(rewritten, folder / "model.safetensors")
    assert "quantised weights mean nothing without their scales" in refusal(folder)


@pytest.mark.parametrize("engine", ["explicit", "fast"])
def test_nan_in_the_weights_is_named_on_loading_and_never_a_score(folder, engine):
    def spoil(tensors):
        tensors["classifier.bias"] = tensors["classifier.bias"] * np.float32(np.nan)
        return tensors

    rewrite(folder, spoil)
    picture = Image.new("RGB", (30, 30), "red")
    with pytest.warns(NpconvWarning) as warned:
        classify = npconv.pipeline("image-classification", model=folder, engine=engine)
    assert any("NaN or infinity: 4 in classifier.bias; take another file" in str(one.message) for one in warned)
    for given in (picture, [picture, picture]):
        with pytest.raises(InputError, match=r"scores are not finite, as the weights hold NaN .* 4 in classifier.bias"):
            classify(given)
    features = npconv.pipeline("image-feature-extraction", model=folder, engine=engine)
    assert np.isfinite(features(picture, pool=True)).all()


def test_numbers_that_overflow_come_with_a_wider_dtype_that_holds_them(folder):
    def enlarge(tensors):
        name = "convnext.embeddings.layernorm.weight"
        return tensors | {name: tensors[name] * np.float32(3e4)}

    rewrite(folder, enlarge)
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 30, 3), np.uint8))
    for task in ("image-classification", "image-feature-extraction"):
        with pytest.raises(InputError, match=r"in float16; try dtype=(\w+)") as caught:
            npconv.pipeline(task, model=folder, dtype="float16")(picture)
        wider = re.search(r"dtype=(\w+)", str(caught.value))[1]
        assert npconv.pipeline(task, model=folder, dtype=wider)(picture)


def clip(tmp_path):
    """Write a CLIP model: timm's tower, a projection, a text tower."""
    state = dict(filled_model(CLASSIFIERS["convnext"], CONFIGS["convnext"]).state_dict())
    state["classifier.bias"] = np.zeros_like(state["classifier.bias"])
    theirs = from_hugging_face(state, dialect("open_clip", state))
    path = tmp_path / "open_clip_model.safetensors"
    save_file(theirs | {"logit_scale": np.zeros(()), "transformer.resblocks.0.ln_1.weight": np.ones(3)}, path)
    return path


def test_a_projection_is_an_embedding_and_no_classifier(tmp_path, capsys):
    made = convert(clip(tmp_path), tmp_path / "out")
    assert any("4 numbers are an embedding and no scores" in str(one) for one in made.decisions)
    assert not any("LABEL_0" in str(one) for one in made.decisions)
    picture = Image.new("RGB", (60, 60), "red")
    picture.save(tmp_path / "red.png")
    with pytest.raises(ConfigError, match="one with a projection: its 4 numbers are an embedding"):
        npconv.pipeline("image-classification", model=tmp_path / "out")
    assert main(["classify", "--model", str(tmp_path / "out"), str(tmp_path / "red.png")]) == 2
    assert "npconv features gives what is before it" in capsys.readouterr().err
    embedding = npconv.AutoModelForImageClassification.from_pretrained(tmp_path / "out")(pictures()).logits
    assert embedding.shape == (2, 4)
    words = ["features", "--model", tmp_path / "out", tmp_path / "red.png", "-o", tmp_path / "features.safetensors"]
    assert main(list(map(str, words))) == 0
    tuned = npconv.AutoConfig.from_pretrained(tmp_path / "out", num_labels=3)
    assert not tuned.head_is_projection


def test_the_embedding_of_a_model_that_has_labels_is_a_classifier(tmp_path):
    made = convert(clip(tmp_path), tmp_path / "out", labels=list("abcd"))
    assert not made.config.head_is_projection
    picture = Image.new("RGB", (60, 60), "red")
    assert len(npconv.pipeline("image-classification", model=tmp_path / "out")(picture)) == 4


@pytest.mark.parametrize(
    ("name", "is_projection"),
    [
        ("timm/convnext_base.clip_laion2b_augreg", True),
        ("timm/convnext_base.clip_laion2b_augreg_ft_in1k", False),
        ("timm/convnext_base.fb_in22k", False),
    ],
)
def test_a_tower_of_timm_is_known_by_its_name(tmp_path, name, is_projection):
    state = filled_model(CLASSIFIERS["convnext"], CONFIGS["convnext"]).state_dict()
    save_file(from_hugging_face(state, dialect("timm", state)), tmp_path / "x.safetensors")
    made = convert(tmp_path / "x.safetensors", tmp_path / "out", name=name)
    assert made.config.head_is_projection == is_projection


def test_a_model_without_names_of_classes_says_so_once_and_the_command_gives_them(folder, tmp_path):
    filled_model(CLASSIFIERS["convnext"], CONFIGS["convnext"]).save_pretrained(folder)
    with pytest.warns(NpconvWarning) as warned:
        classify = npconv.pipeline("image-classification", model=folder)
    assert [str(one.message) for one in warned if "names of classes" in str(one.message)] == [
        "the model has no names of classes, so that they are LABEL_0 and so on: "
        "npconv convert MODEL FOLDER --labels FILE makes one with names"
    ]
    classify(Image.new("RGB", (30, 30)))
    (tmp_path / "names").write_text("cat\ndog\nemu\nfox\n")
    assert main(["convert", str(folder), str(tmp_path / "new"), "--labels", str(tmp_path / "names")]) == 0
    best = npconv.pipeline("image-classification", model=tmp_path / "new")(Image.new("RGB", (30, 30)), top_k=1)
    assert best[0]["label"] in ("cat", "dog", "emu", "fox")


def test_scales_beside_weights_are_never_left_out(folder):
    def quantise(tensors):
        return tensors | {f"{name}_scale_inv": np.float32([3]) for name, tensor in tensors.items() if tensor.ndim > 1}

    rewrite(folder, quantise)
    stored = load_file(folder / "model.safetensors")
    codes = {name: "F8_E4M3" for name, tensor in stored.items() if tensor.ndim > 1}
    save_file(stored, folder / "model.safetensors", dtypes=codes)
    for strict in (True, False):
        message = refusal(folder, strict=strict)
        assert "quantised weights, which need their scales" in message
        assert "strict=False" not in message
