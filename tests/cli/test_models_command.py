"""``npconv models`` inside this process, with embedded models of the test's own."""

import json
import shutil
import sys
from pathlib import Path

import pytest
from support.cli_samples import LABELS

import npconv.weights  # noqa: F401  # brings the module below, whose name the package uses for its function
from npconv.cli import main
from npconv.hub.catalogue import catalogue

Capsys = pytest.CaptureFixture[str]

CARD = """---
license: apache-2.0
model-index:
- name: small
  results:
  - task: {type: image-classification}
    dataset: {type: cifar10, name: CIFAR-10, split: test}
    metrics: [{type: accuracy, value: 83.12}]
---

# small

Measured by npconv in float32: 83.12 % top-1, 99.1 % top-5.
"""


@pytest.fixture
def zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of embedded models."""
    monkeypatch.setattr(sys.modules["npconv.files.disk"], "_zoo", lambda: tmp_path)
    monkeypatch.setenv("HF_HUB_CACHE", "/some/where/hub")
    return tmp_path


def test_a_model_with_its_card(capsys: Capsys, zoo: Path, model: Path) -> None:
    shutil.copytree(model, zoo / "small")
    (zoo / "small" / "README.md").write_text(CARD)
    assert main(["models"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(
        "Embedded models\n"
        "  name   family       parameters  input    classes  accuracy  licence\n"
        "  small  ConvNeXt V2       5,682  16 x 16        6   83.12 %  apache-2.0\n\n"
    )
    assert main(["models", "--format", "json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [checkpoint["name"] for checkpoint in listed.pop("catalogue")] == [found.name for found in catalogue()]
    assert listed == {
        "embedded": [
            {
                "name": "small",
                "family": "ConvNeXt V2",
                "parameters": 5682,
                "input": [16, 16],
                "classes": LABELS,
                "top_1_percent": 83.12,
                "licence": "apache-2.0",
            }
        ],
        "hub_cache": "/some/where/hub",
    }


def test_a_model_without_a_card(capsys: Capsys, zoo: Path, model: Path) -> None:
    shutil.copytree(model, zoo / "small")
    assert main(["models"]) == 0
    assert "  small  ConvNeXt V2       5,682  16 x 16        6\n" in capsys.readouterr().out


def test_without_models(capsys: Capsys, zoo: Path) -> None:
    assert main(["models"]) == 0
    assert capsys.readouterr().out.startswith("No model is embedded.\n\n")


def test_how_to_use_others(capsys: Capsys, zoo: Path) -> None:
    main(["models"])
    text = capsys.readouterr().out
    assert all(word in text for word in ("a directory", "a file", "a hub id", "huggingface_hub"))
    assert text.endswith("The cache is /some/where/hub\n")
    assert all(len(line) <= 100 for line in text.splitlines())


def test_the_published_models(capsys: Capsys, zoo: Path) -> None:
    assert main(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for checkpoint in catalogue():
        [line] = [line for line in lines if line.split()[:1] == [checkpoint.name]]
        assert f" {checkpoint.parameters:,} " in line
    assert "  microsoft/cvt-13            19,997,480    224  resize 256, crop    1,000  bin" in lines
    assert "  microsoft/cvt-13-384-22k    19,997,480    384  not known           1,000  bin" in lines
    assert "ConvNeXt V2 on the hub, licence apache-2.0 by their cards, CC-BY-NC-4.0 by their authors" in lines


def test_a_part_of_the_names(capsys: Capsys, zoo: Path, model: Path) -> None:
    shutil.copytree(model, zoo / "small")
    assert main(["models", "CvT-13"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[2:]] == [found.name for found in catalogue() if "cvt-13" in found.name]
    assert main(["models", "mall", "--format", "json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [found["name"] for found in listed["embedded"]] == ["small"]
    assert [found["name"] for found in listed["catalogue"]] == [
        "facebook/convnext-small-224",
        "facebook/dinov3-convnext-small-pretrain-lvd1689m",
    ]


def test_a_part_that_no_name_has(capsys: Capsys, zoo: Path) -> None:
    assert main(["models", "convnextv2-ato-1k-224"]) == 2
    assert capsys.readouterr() == (
        "",
        "npconv: error: expected a part of a model's name, but none has 'convnextv2-ato-1k-224' in it; "
        "did you mean facebook/convnextv2-atto-1k-224?\n",
    )


def test_an_embedded_model_is_found_by_its_name(capsys: Capsys, zoo: Path, model: Path, photos: list[str]) -> None:
    shutil.copytree(model, zoo / "convnextv2-cifar10")
    assert main(["info"]) == 0
    assert capsys.readouterr().out.startswith("convnextv2-cifar10\n\n  family         ConvNeXt V2")
    assert main(["classify", photos[0]]) == 0
    assert capsys.readouterr().out.startswith(f"{photos[0]}: ")
