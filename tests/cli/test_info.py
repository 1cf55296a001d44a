"""``npconv info`` inside this process."""

import json
import math
import re
from pathlib import Path

import pytest
from support.cli_samples import LABELS, rewrite

from npconv import (
    AutoConfig,
    ConvNextConfig,
    ConvNextForImageClassification,
    ConvNextImageProcessor,
    ConvNextModel,
    ConvNextV2Config,
    CvtConfig,
    CvtForImageClassification,
)
from npconv.cli import main
from npconv.cli.info_text import file_size, layer_lines, short_number, steps
from npconv.files import safetensors
from npconv.models import FAMILIES
from npconv.models.summary import layer_table

Capsys = pytest.CaptureFixture[str]


def info(capsys: Capsys, model: Path | str, *words: str) -> tuple[int, str, list[str]]:
    """Run the command; return its status, stdout and the lines of stderr."""
    status = main(["info", str(model), *words])
    output = capsys.readouterr()
    return status, output.out, output.err.splitlines()


def section(text: str, title: str) -> str:
    """The part of the text under a title."""
    return text.partition(f"\n{title}")[2].partition("\n\n")[0]


def test_the_parts_are_there(capsys: Capsys, model: Path) -> None:
    status, text, errors = info(capsys, model)
    assert (status, errors) == (0, [])
    config = AutoConfig.from_pretrained(model)
    assert text.startswith(f"{model}\n\n  family         ConvNeXt V2, a convolutional network: ")
    assert "https://arxiv.org/abs/2301.00808" in text
    assert re.search(r"\n  weights +model\.safetensors: [\d.]+ KB, float32\n", text)
    assert re.search(r"\n  classes +6: tabby, tabby cat, café, line\\nbreak, ship, truck, frog\n", text)
    other = section(text, "Configuration")
    for name, value, default in (("depths", "[1, 3]", "[3, 3, 9, 3]"), ("num_stages", "2", "4")):
        assert re.search(rf"\n    {name} +{re.escape(value)} +default {re.escape(default)}", other)
    assert "kept, without effect here\n    dtype float32, transformers_version 5.1.0" in other
    assert "out_features" not in other  # the last stage, as by default
    assert f"layer_norm_eps {config.layer_norm_eps}" in other


def test_preprocessing_is_in_plain_words(capsys: Capsys, model: Path) -> None:
    _, text, _ = info(capsys, model)
    assert section(text, "Preprocessing").split("\n")[1:] == [
        "  1. turn upright as EXIF says, convert to RGB of 8 bits",
        "  2. resize the shorter edge to 18, keeping the aspect (bicubic)",
        "  3. crop the middle 16 x 16",
        "  4. divide by 255",
        "  5. subtract the mean 0.485, 0.456, 0.406",
        "  6. divide by the standard deviation 0.229, 0.224, 0.225",
    ]


def test_other_preprocessings() -> None:
    warp = ConvNextImageProcessor(size=384, resample="bilinear", rescale_factor=0.5, image_mean=0.5, image_std=[0.25])
    assert steps(warp)[1:] == [
        "warp to 384 x 384, whatever the aspect (bilinear)",
        "multiply by 0.5",
        "subtract the mean 0.5",
        "divide by the standard deviation 0.25",
    ]
    crop = ConvNextImageProcessor(
        do_resize=False, do_center_crop=True, crop_size=(8, 9), do_rescale=False, do_normalize=False, image_mean=[0.5]
    )
    assert steps(crop) == ["turn upright as EXIF says, convert to grey of 8 bits", "crop the middle 8 x 9"]


def test_eps_and_activation_stand_at_their_sites(capsys: Capsys, model: Path) -> None:
    _, text, _ = info(capsys, model)
    assert section(text, "eps and activation at each site").split("\n")[1:] == [
        "  layer norm     eps 1e-06  convnextv2.embeddings.layernorm",
        "  layer norm     eps 1e-06  convnextv2.encoder.stages.*.layers.*.layernorm",
        "  activation     gelu       convnextv2.encoder.stages.*.layers.*.act",
        "  response norm  eps 1e-06  convnextv2.encoder.stages.*.layers.*.grn",
        "  layer norm     eps 1e-06  convnextv2.encoder.stages.*.downsampling_layer.0",
        "  layer norm     eps 1e-12  convnextv2.layernorm",
    ]


def test_a_changed_eps_is_shown(capsys: Capsys, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("npconv.models.convnextv2.plan.GRN_EPS", 0.125)
    _, text, _ = info(capsys, model)
    assert "response norm  eps 0.125  convnextv2.encoder.stages.*.layers.*.grn" in text
    assert "response norm eps 0.125" in text.partition("\nLayers")[2]


FULL_SIZES = {
    "convnext": ConvNextConfig(depths=[3, 3, 27, 3], hidden_sizes=[192, 384, 768, 1536], num_labels=1000),
    "convnextv2": ConvNextV2Config(depths=[3, 3, 27, 3], hidden_sizes=[192, 384, 768, 1536], num_labels=1000),
    "cvt": CvtConfig(depth=[1, 4, 16], num_labels=1000),
}


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("family", FULL_SIZES)
def test_the_layers_fit_the_terminal(family: str, columns: int) -> None:
    for all_blocks in (False, True):
        lines = layer_lines(layer_table(FULL_SIZES[family], 224, 224), all_blocks=all_blocks, width=columns)
        assert max(map(len, lines)) <= columns
        assert (len(lines) < 90) != all_blocks


def test_columns_are_as_far_apart_as_fits() -> None:
    rows = layer_table(FULL_SIZES["convnext"], 224, 224)
    widths = []
    for width in (1000, 0):
        lines = layer_lines(rows, all_blocks=False, width=width)
        widths.append(max(map(len, lines)))
    widest, narrowest = widths
    assert layer_lines(rows, all_blocks=False, width=widest) == layer_lines(rows, all_blocks=False, width=1000)
    closer = layer_lines(rows, all_blocks=False, width=widest - 1)
    assert narrowest < max(map(len, closer)) == widest - 2, "without its margin"
    assert layer_lines(rows, all_blocks=False, width=narrowest) == layer_lines(rows, all_blocks=False, width=0)


@pytest.mark.parametrize("family", FULL_SIZES)
def test_the_parts_of_the_table_add_up(family: str) -> None:
    table = layer_table(FULL_SIZES[family], 224, 224)
    for all_blocks in (False, True):
        *lines, total = layer_lines(table, all_blocks=all_blocks, width=120)
        begin, end = lines[0].index("output") + len("output"), lines[0].index("parameters") + len("parameters")
        numbers = [line[begin:end].strip() for line in lines[1:] if " " in line.strip()]  # headings have no spaces
        assert sum(int(number.replace(",", "")) for number in numbers if number) == sum(r.parameters for r in table)
        assert f"{sum(row.parameters for row in table):,}" in total


def test_blocks_that_are_alike_are_counted_in_one_line(capsys: Capsys, model: Path) -> None:
    _, text, _ = info(capsys, model)
    assert re.search(r"\n *layers\.1 to 2 +the same, 2 times +[\d,]+ +[\d.]+K\n", text)
    assert "Option --all lists every block." in text.replace("\n  ", " ")
    _, text, _ = info(capsys, model, "--all")
    assert "the same" not in text
    assert "--all" not in text
    assert "convnextv2.encoder.stages.1.layers.2" in text


def test_long_names_stand_under_their_common_beginning(capsys: Capsys, tmp_path: Path) -> None:
    config = CvtConfig(embed_dim=[4, 6, 8], num_heads=[1, 3, 2], depth=[1, 1, 2])
    CvtForImageClassification(config).save_pretrained(tmp_path)
    status, text, _ = info(capsys, tmp_path, "--size", "40x56")
    assert status == 0
    assert "\nLayers, for a picture of 40 x 56\n" in text
    table = text.partition("\nLayers")[2]
    assert "\n      convolution_projection_query.convolution_projection\n" in table
    assert re.search(r"\n        convolution +depthwise 3x3 pad 1 +4x10x14 +36 ", table)
    assert re.search(r"\n      \(attention\) +heads 1 scale 4\*\*-0\.5 +140x4 ", table)


def test_json_holds_everything(capsys: Capsys, model: Path) -> None:
    status, text, errors = info(capsys, model, "--format", "json", "--size", "40x24")
    assert (status, errors) == (0, [])
    content = json.loads(text)
    assert content["family"] == "ConvNeXt V2"
    assert content["path"] == str(model)
    assert content["labels"] == LABELS
    assert content["input"] == [3, 40, 24]
    assert content["configuration"]["depths"] == [1, 3]
    assert content["other_than_default"] == ["depths", "hidden_sizes", "initializer_range", "num_stages"]
    assert content["unknown_fields"] == ["dtype", "transformers_version"]
    assert content["preprocessing"]["size"] == {"shortest_edge": 16}
    assert content["weights"]["files"] == ["model.safetensors"]
    assert content["weights"]["bytes"] == (model / "model.safetensors").stat().st_size
    table = layer_table(AutoConfig.from_pretrained(model), 40, 24)
    assert [tuple(row.values()) for row in content["layers"]] == [
        (*row[:3], list(row.output_shape), *row[4:]) for row in table
    ]
    header = safetensors.read_header(model / "model.safetensors")
    stored = sum(math.prod(entry.shape) for entry in header.entries.values())
    assert content["parameters"] == stored
    assert content["weights"]["dtypes"] == {"float32": stored}


def test_a_file_with_its_configuration_beside_it(capsys: Capsys, model: Path) -> None:
    _, of_folder, _ = info(capsys, model)
    status, of_file, _ = info(capsys, model / "model.safetensors")
    assert status == 0
    assert section(of_file, "Layers") == section(of_folder, "Layers")
    assert section(of_file, "Preprocessing") == section(of_folder, "Preprocessing")


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_configuration_alone_is_enough(capsys: Capsys, tmp_path: Path, form: str) -> None:
    ConvNextConfig(num_labels=1000).save_pretrained(tmp_path)
    status, text, errors = info(capsys, tmp_path, "--format", form)
    assert (status, errors) == (0, [])
    if form == "json":
        content = json.loads(text)
        assert content["parameters"] == 28_589_128
        assert content["multiply_adds"] == 4_455_531_264
        assert "no model.safetensors" in content["weights"]["error"]
        assert "no preprocessor_config.json" in content["preprocessing"]["error"]
    else:
        assert "\n  weights        none: no model.safetensors" in text
        assert section(text, "Preprocessing") == "\n  none: no preprocessor_config.json; npconv classify needs one"
        assert "\n  multiply-adds  4,455,531,264 for a picture of 224 x 224\n" in text
        assert "and 990 more" in text


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize(
    ("file", "reason"),
    [("model.safetensors", "InvalidHeaderLength"), ("preprocessor_config.json", "expected a JSON file of settings")],
)
def test_what_is_broken_is_named_and_the_rest_shown(
    capsys: Capsys, own_model: Path, form: str, file: str, reason: str
) -> None:
    (own_model / file).write_bytes(b"\x99" + (7 * b"\0"))
    status, text, errors = info(capsys, own_model, "--format", form)
    assert status == 1
    assert len(errors) == 1
    assert errors[0].startswith(f"npconv info: {own_model}: ")
    assert reason in errors[0]
    if form == "json":
        assert len(json.loads(text)["layers"]) == len(layer_table(AutoConfig.from_pretrained(own_model), 16, 16))
    else:
        assert text.count("unusable:") == 1
        assert "depthwise 7x7" in text


def test_weights_of_another_shape_are_named(capsys: Capsys, own_model: Path) -> None:
    rewrite(own_model / "config.json", hidden_sizes=[7, 10])
    status, text, errors = info(capsys, own_model)
    assert status == 1
    assert "does the configuration belong to them?" in errors[0]
    assert "unusable" in text


def test_weights_of_a_bare_model_lack_the_classifier(capsys: Capsys, tmp_path: Path) -> None:
    ConvNextModel(ConvNextConfig(num_stages=1, hidden_sizes=[2], depths=[1])).save_pretrained(tmp_path)
    status, text, errors = info(capsys, tmp_path, "--format", "json")
    assert (status, errors) == (0, [])
    assert json.loads(text)["weights"]["missing"] == ["classifier.weight", "classifier.bias"]
    _, text, _ = info(capsys, tmp_path)
    assert "; missing: classifier.weight, classifier.bias\n" in text.replace("\n                 ", " ")
    assert "\n  saved as       ConvNextModel\n" in text


def test_sharded_weights(capsys: Capsys, tmp_path: Path) -> None:
    config = ConvNextConfig(num_stages=2, hidden_sizes=[2, 3], depths=[1, 1])
    ConvNextForImageClassification(config).save_pretrained(tmp_path, max_shard_size=1000)
    names = sorted(file.name for file in tmp_path.glob("*.safetensors"))
    status, text, _ = info(capsys, tmp_path, "--format", "json")
    assert status == 0
    assert json.loads(text)["weights"]["files"] == names
    _, text, _ = info(capsys, tmp_path)
    assert f"{len(names)} files, {names[0]} and so on: " in text
    (tmp_path / names[0]).unlink()
    status, _, errors = info(capsys, tmp_path)
    assert status == 1
    assert f"names '{names[0]}', expected .safetensors files in its folder" in errors[0]


@pytest.mark.parametrize("index", ["[]", '{"weight_map": {}}', '{"weight_map": {"a": "../b.safetensors"}}', "{"])
def test_a_broken_index(capsys: Capsys, own_model: Path, index: str) -> None:
    (own_model / "model.safetensors").rename(own_model.parent / "b.safetensors")
    (own_model / "model.safetensors.index.json").write_text(index)
    status, _, errors = info(capsys, own_model)
    assert (status, len(errors)) == (1, 1)
    assert "index.json" in errors[0]


@pytest.mark.parametrize(
    ("fields", "size"),
    [
        ({"do_resize": False, "do_center_crop": True, "crop_size": {"height": 24, "width": 32}}, "24 x 32"),
        ({"do_resize": False}, "64 x 48"),
        ({"size": 384}, "384 x 384"),
    ],
)
def test_the_picture_is_what_the_preprocessing_makes(
    capsys: Capsys, own_model: Path, fields: dict[str, object], size: str
) -> None:
    rewrite(own_model / "config.json", image_size=[64, 48])
    ConvNextImageProcessor(**fields).save_pretrained(own_model)
    _, text, _ = info(capsys, own_model)
    assert f"\nLayers, for a picture of {size}\n" in text


def test_a_picture_that_is_too_small_is_one_line(capsys: Capsys, model: Path) -> None:
    status, text, errors = info(capsys, model, "--size", "7")
    assert (status, text, len(errors)) == (2, "", 1)
    assert "convnextv2.encoder.stages.1.downsampling_layer.1: a window of 2 does not fit" in errors[0]


def test_odd_fields_stay_on_their_line(capsys: Capsys, own_model: Path) -> None:
    odd = {"with\nbreak": "\x1b[31m" * 100, "number": math.nan}
    rewrite(own_model / "config.json", odd=odd, architectures=["A\nB"])
    status, text, errors = info(capsys, own_model)
    assert (status, errors) == (0, [])
    assert "\x1b" not in text
    status, text, errors = info(capsys, own_model, "--format", "json")
    assert (status, errors) == (0, [])
    assert json.loads(text, parse_constant=pytest.fail)["configuration"]["odd"]["number"] == "NaN"


@pytest.mark.parametrize("odd", [{"stage_names": None}, {"stage_names": {}}, {"out_features": []}])
def test_fields_of_another_family_are_only_kept(capsys: Capsys, tmp_path: Path, odd: dict[str, object]) -> None:
    CvtConfig(depth=[1, 1, 1]).save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({**json.loads((tmp_path / "config.json").read_text()), **odd}))
    status, _, errors = info(capsys, tmp_path)
    assert (status, errors) == (0, [])


@pytest.mark.parametrize("size", [{}, {"height": 16, "width": 16}])
def test_a_size_without_a_shortest_edge_is_named(capsys: Capsys, own_model: Path, size: dict[str, int]) -> None:
    rewrite(own_model / "preprocessor_config.json", size=size)
    status, text, errors = info(capsys, own_model)
    assert (status, len(errors)) == (1, 1)
    assert "shortest_edge" in errors[0]
    assert "Layers, for a picture of 224 x 224" in text  # that of the configuration


@pytest.mark.parametrize(
    ("number", "text"),
    [
        *((0, ""), (7, "7"), (999, "999"), (1000, "1.00K"), (9994, "9.99K"), (9996, "10.0K"), (99_960, "100K")),
        *((999_499, "999K"), (999_500, "1.00M"), (4_455_531_264, "4.46G"), (10**14, "100000G")),
    ],
)
def test_short_numbers_have_three_digits(number: int, text: str) -> None:
    assert short_number(number) == text


@pytest.mark.parametrize(("size", "text"), [(999, "999 bytes"), (1_090_000, "1.09 MB"), (2_640_000_000, "2.64 GB")])
def test_file_sizes(size: int, text: str) -> None:
    assert file_size(size) == text


def test_every_family_is_described() -> None:
    first = [config.model_type for config in (ConvNextConfig, ConvNextV2Config, CvtConfig)]
    assert list(FAMILIES)[:3] == first
    for family in FAMILIES.values():
        assert family.title
        assert family.folder.DESCRIPTION
        assert "https://arxiv.org/abs/" in family.folder.PAPER
