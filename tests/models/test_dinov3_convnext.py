"""What is particular to the ConvNeXts of DINOv3: tokens, the picture as a stem, names, how pictures are prepared."""

import json

import numpy as np
import pytest
from PIL import Image

import npconv
from npconv.cli import main
from npconv.convert import convert
from npconv.errors import ConfigError, InputError
from npconv.files.safetensors import load_file, save_file
from npconv.images.transforms import normalize, resize_float
from npconv.models import dinov3_convnext
from weights_tools.goldens import draw

FIELDS = {"hidden_sizes": [6, 10], "depths": [1, 2], "layer_scale_init_value": 0.5}
SHIP = "npconv/zoo/samples/ship.png"


def weights(config, task="model"):
    """Return random parameters by their names in a file."""
    shapes = getattr(dinov3_convnext, f"{task}_shapes")(config)
    drawn = draw.weights(draw.generator(0, "dinov3"), shapes.items())
    return {name: value.astype(np.float64) for name, value in drawn.items()}


@pytest.fixture
def config():
    return npconv.DINOv3ConvNextConfig(**FIELDS)


@pytest.fixture
def model(config):
    return npconv.DINOv3ConvNextModel(config, weights(config), dtype="float64")


@pytest.fixture
def pictures():
    return draw.pixel_values(draw.generator(1, "pictures"), (2, 3, 25, 18)).astype(np.float64)


def test_the_first_token_is_the_normalized_mean_of_the_last_map(model, pictures):
    output = model(pictures, output_hidden_states=True)
    last = output.hidden_states[-1]
    rows = last.reshape(2, 10, -1).transpose(0, 2, 1)
    tokens = np.concatenate([rows.mean(axis=1, keepdims=True), rows], axis=1)
    deviation = tokens - tokens.mean(axis=-1, keepdims=True)
    normal = deviation / np.sqrt((deviation**2).mean(axis=-1, keepdims=True) + model.config.layer_norm_eps)
    expected = normal * model.params["layer_norm"]["weight"] + model.params["layer_norm"]["bias"]
    assert output.last_hidden_state.shape == (2, 1 + last.shape[2] * last.shape[3], 10)
    np.testing.assert_allclose(output.last_hidden_state, expected, rtol=1e-13, atol=1e-13)
    np.testing.assert_array_equal(output.pooler_output, output.last_hidden_state[:, 0])


def test_the_stem_is_the_picture_and_a_backbone_normalizes_nothing(config, model, pictures):
    chosen = npconv.DINOv3ConvNextConfig(**FIELDS, out_features=["stem", "stage2"])
    own = {name: value for name, value in weights(config).items() if not name.startswith("layer_norm")}
    backbone = npconv.DINOv3ConvNextBackbone(chosen, own, dtype="float64")
    states = model(pictures, output_hidden_states=True).hidden_states
    maps = backbone(pictures).feature_maps
    np.testing.assert_array_equal(maps[0], pictures)
    np.testing.assert_array_equal(maps[1], states[-1])
    assert backbone.channels == [3, 10]
    assert backbone.num_features == [3, 6, 10]


@pytest.mark.parametrize("init_value", [1e-6, 0.0, -1.0])
def test_every_block_has_a_layer_scale_whatever_it_begins_with(pictures, init_value):
    config = npconv.DINOv3ConvNextConfig(**{**FIELDS, "layer_scale_init_value": init_value})
    fresh = npconv.DINOv3ConvNextModel(config)
    assert (fresh.params["stages"][1]["layers"][0]["gamma"] == np.float32(init_value)).all()
    zeros = {name: 0 * value if name.endswith(".gamma") else value for name, value in weights(config).items()}
    states = npconv.DINOv3ConvNextModel(config, zeros)(pictures, output_hidden_states=True).hidden_states
    first = dinov3_convnext.stem(pictures.astype(np.float32), *fresh_pair(zeros), config=config)
    np.testing.assert_allclose(states[1], first, rtol=1e-6, atol=1e-6)  # float32; the blocks add nothing


def fresh_pair(tensors):
    """Return the parameters of the first convolution and norm."""
    kinds = ("weight", "bias")
    return [
        {kind: tensors[f"stages.0.downsample_layers.{place}.{kind}"].astype(np.float32) for kind in kinds}
        for place in (0, 1)
    ]


@pytest.mark.parametrize("task", ["model", "backbone"])
def test_the_fast_engine_gives_the_same_numbers(config, pictures, task):
    kind = {"model": npconv.DINOv3ConvNextModel, "backbone": npconv.DINOv3ConvNextBackbone}[task]
    explicit, fast = (kind(config, weights(config, task), engine=engine) for engine in ("explicit", "fast"))
    expected, actual = (each(pictures, output_hidden_states=True).to_tuple() for each in (explicit, fast))
    for one, other in zip(np.hstack([flat(expected)]), np.hstack([flat(actual)]), strict=True):
        assert abs(one - other) <= 2e-5 * max(1, abs(one))  # float32, over some thirty layers


def flat(arrays):
    """Return the numbers of nested tuples of arrays."""
    return np.concatenate([flat(part) if isinstance(part, tuple) else part.reshape(-1) for part in arrays])


def test_a_picture_that_is_too_small_is_refused(model):
    with pytest.raises(InputError, match="at least 8 x 8 pixels for 2 stages"):
        model(np.zeros((1, 3, 7, 9)))


def test_names_of_a_loaded_model_are_taken_too(config, model, pictures):
    loaded = {f"model.{name}" if name.startswith("stages") else name: v for name, v in weights(config).items()}
    again = npconv.DINOv3ConvNextModel(config, loaded, dtype="float64")
    np.testing.assert_array_equal(again(pictures).pooler_output, model(pictures).pooler_output)


def test_there_is_no_classifier(config, tmp_path, capsys):
    with pytest.raises(ConfigError, match="AutoModelForImageClassification: expected one of ConvNextConfig"):
        npconv.AutoModelForImageClassification.from_config(config)
    npconv.AutoModel.from_config(config).save_pretrained(tmp_path)
    assert main(["classify", SHIP, "--model", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_fields_that_do_not_go_together_are_named():
    with pytest.raises(ConfigError, match="hidden_sizes and depths to have as many entries, got 2 and 3"):
        npconv.DINOv3ConvNextConfig(hidden_sizes=[4, 6], depths=[1, 1, 1])
    saved = npconv.DINOv3ConvNextConfig().to_dict()
    assert {"num_stages", "patch_size", "norm_eps", "stem_type"} & saved.keys() == set()
    assert npconv.DINOv3ConvNextConfig.from_dict(saved) == npconv.DINOv3ConvNextConfig()


class TestProcessor:
    """``DINOv3ViTImageProcessor``."""

    def test_pictures_are_rescaled_then_resized_then_normalized(self):
        processor = npconv.DINOv3ViTImageProcessor(size={"height": 20, "width": 28})
        rng = np.random.default_rng(0)
        picture = rng.integers(0, 256, (41, 33, 3), dtype=np.uint8)
        scaled = np.moveaxis(picture, -1, 0).astype(np.float32) / np.float32(255)
        resized = resize_float(scaled, (20, 28), "bilinear")
        expected = normalize(resized, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
        values = processor(Image.fromarray(picture))["pixel_values"]
        assert values.dtype == np.float32
        np.testing.assert_allclose(values[0], expected, rtol=1e-6, atol=1e-6)
        assert len(np.unique(resized)) > 1500  # of 1680 values: not those of 8 bits

    def test_one_number_is_height_and_width(self):
        assert npconv.DINOv3ViTImageProcessor(size=96).size == {"height": 96, "width": 96}
        assert npconv.DINOv3ViTImageProcessor()(np.zeros((9, 9, 3), np.uint8), size=12)["pixel_values"].shape[2] == 12
        with pytest.raises(InputError, match="expected a size such as 224"):
            npconv.DINOv3ViTImageProcessor(size={"longest_edge": 9})

    def test_it_is_found_by_its_name_in_a_file(self, tmp_path):
        for name in ("DINOv3ViTImageProcessor", "DINOv3ViTImageProcessorFast"):
            settings = {"image_processor_type": name, "size": {"height": 8, "width": 8}}
            (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
            found = npconv.AutoImageProcessor.from_pretrained(tmp_path)
            assert type(found) is npconv.DINOv3ViTImageProcessor
            assert found.to_dict()["image_processor_type"] == "DINOv3ViTImageProcessor"
        (tmp_path / "preprocessor_config.json").write_text('{"image_processor_type": "ConvNextImageProcessor"}')
        assert type(npconv.AutoImageProcessor.from_pretrained(tmp_path)) is npconv.ConvNextImageProcessor


@pytest.fixture
def folder(tmp_path, model):
    """A folder with a model and its preprocessing."""
    model.save_pretrained(tmp_path / "model")
    npconv.DINOv3ViTImageProcessor(size={"height": 24, "width": 32}).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize("dialect", ["facebook", "timm", "huggingface"])
def test_there_and_back_through_the_names_of_other_libraries(folder, tmp_path, dialect):
    theirs = tmp_path / "theirs.safetensors"
    assert main(["export", str(folder), str(theirs), "--to", dialect]) == 0
    made = convert(theirs, tmp_path / "made", model_type="dinov3_convnext")
    assert made.config.model_type == "dinov3_convnext"
    before, after = (load_file(path / "model.safetensors") for path in (folder, tmp_path / "made"))
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert npconv.AutoImageProcessor.from_pretrained(tmp_path / "made").size == {"height": 224, "width": 224}


def test_the_second_last_norm_in_files_of_facebook_tells_the_family(folder, tmp_path):
    theirs = tmp_path / "theirs.safetensors"
    main(["export", str(folder), str(theirs), "--to", "facebook"])
    tensors = dict(load_file(theirs))
    tensors |= {f"norms.1.{kind}": tensors[f"norm.{kind}"] for kind in ("weight", "bias")}
    save_file(tensors, theirs)
    made = convert(theirs, tmp_path / "made")
    assert made.config.model_type == "dinov3_convnext"
    assert not [decision for decision in made.decisions if decision.field == "model_type" and decision.level == "guess"]


def test_without_it_the_family_is_a_guess_that_says_so(folder, tmp_path):
    theirs = tmp_path / "theirs.safetensors"
    main(["export", str(folder), str(theirs), "--to", "timm"])
    made = convert(theirs, tmp_path / "made")
    guess = next(d for d in made.decisions if d.field == "model_type" and d.level == "guess")
    assert (made.config.model_type, "dinov3_convnext" in guess.reason) == ("convnext", True)


def test_the_commands_know_it(folder, tmp_path, capsys):
    golden = str(tmp_path / "golden.safetensors")
    assert main(["info", str(folder)]) == 0
    text = capsys.readouterr().out
    assert "3. warp to 24 x 32, whatever the aspect (bilinear)" in text
    assert "layer norm  eps 1e-06  layer_norm" in text
    assert main(["features", SHIP, "--model", str(folder), "-o", str(tmp_path / "f.safetensors"), "--pooled"]) == 0
    assert main(["trace", str(folder), SHIP, "-o", golden]) == 0
    assert main(["diff", golden, golden]) == 0
    assert main(["verify", str(folder)]) == 0
    extract = npconv.pipeline("image-feature-extraction", model=str(folder))
    assert np.shape(extract(SHIP)) == (1, 1 + 3 * 4, 10)
    assert np.shape(extract(SHIP, pool=True)) == (1, 10)
