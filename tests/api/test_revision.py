"""A revision is that of the weights, the configuration and the image processor alike."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import npconv
from npconv import (
    AutoImageProcessor,
    AutoModelForImageClassification,
    ConvNextImageProcessor,
    ModelNotFoundError,
    pipeline,
)

ZOO = Path(npconv.__file__).parent / "zoo" / "convnextv2-cifar10"


@pytest.fixture(autouse=True)
def two_revisions(tmp_path, monkeypatch):
    """A hub cache with a model whose processor is another one on a branch."""
    repository = tmp_path / "hub" / "models--a--model"
    (repository / "refs").mkdir(parents=True)
    for number, name in enumerate(("main", "branch")):
        shutil.copytree(ZOO, repository / "snapshots" / str(number))
        (repository / "refs" / name).write_text(str(number))
        settings = repository / "snapshots" / str(number) / "preprocessor_config.json"
        told = json.loads(settings.read_text())
        settings.write_text(json.dumps({**told, "image_mean": [0.1 * (number + 1)] * 3}))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.mark.parametrize("read", [AutoImageProcessor.from_pretrained, ConvNextImageProcessor.from_pretrained])
def test_a_processor_is_that_of_its_revision(read):
    assert read("a/model").image_mean == (0.1,) * 3
    assert read("a/model", revision="branch").image_mean == (0.2,) * 3


@pytest.mark.parametrize("task", ["image-classification", "image-feature-extraction"])
def test_a_pipeline_takes_the_processor_of_its_revision(task):
    assert pipeline(task, "a/model").image_processor.image_mean == (0.1,) * 3
    assert pipeline(task, "a/model", revision="branch").image_processor.image_mean == (0.2,) * 3


def test_a_loaded_model_finds_the_processor_of_its_revision(tmp_path, monkeypatch):
    load = AutoModelForImageClassification.from_pretrained
    models = {0.1: load("a/model"), 0.2: load("a/model", revision="branch")}
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "none"))  # it is known where they were
    for mean, model in models.items():
        assert pipeline(model=model).image_processor.image_mean == (mean,) * 3


def test_a_processor_by_another_name_has_no_revision_of_the_models():
    found = pipeline("image-classification", "a/model", revision="branch", image_processor="a/model")
    assert found.image_processor.image_mean == (0.1,) * 3
    assert pipeline(model="a/model", revision="branch").image_processor.image_mean == (0.2,) * 3


@pytest.mark.parametrize("task", ["image-classification", "image-feature-extraction"])
def test_a_pipeline_takes_all_from_where_it_is_told(task, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "none"))
    monkeypatch.delenv("HF_HUB_OFFLINE")
    told = {"cache_dir": tmp_path / "hub", "local_files_only": True}
    for arguments in (told, {"model_kwargs": told}):
        found = pipeline(task, "a/model", revision="branch", **arguments)
        assert found.image_processor.image_mean == (0.2,) * 3
        assert found.model.name_or_path == "a/model"
    assert pipeline(model="a/model", **told).task == "image-classification"
    assert pipeline(task, "a/model", config="a/model", **told).image_processor.image_mean == (0.1,) * 3
    with pytest.raises(ModelNotFoundError):
        pipeline(task, "a/model", local_files_only=True)
