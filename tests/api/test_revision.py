"""A revision is that of the weights, the configuration and the image processor alike."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import npconv
from npconv import AutoImageProcessor, ConvNextImageProcessor, pipeline

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
