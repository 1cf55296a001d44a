"""Models to be converted."""

from __future__ import annotations

import pytest
from support.conversion_files import CONFIGS, in_dialect, pickled_tensors, state_of

import npconv
from npconv.files import safetensors


@pytest.fixture
def source(tmp_path):
    """A ConvNeXt V2 in Facebook's names, as torch.save writes it."""
    path = tmp_path / "source.pth"
    path.write_bytes(pickled_tensors(in_dialect("convnextv2", "facebook"), wrapping="model"))
    return path


@pytest.fixture
def folder(tmp_path):
    """A ConvNeXt as transformers saves it, small files included."""
    path = tmp_path / "source"
    path.mkdir()
    safetensors.save_file(state_of("convnext"), path / "model.safetensors")
    config = npconv.ConvNextConfig.from_dict(CONFIGS["convnext"].to_dict() | {"drop_path_rate": 0.25, "extra": [1]})
    config.id2label = dict(enumerate(["cat", "dog", "emu", "fox"]))
    config.save_pretrained(path)
    npconv.ConvNextImageProcessor(size=64, crop_pct=0.75, image_mean=0.25).save_pretrained(path)
    return path
