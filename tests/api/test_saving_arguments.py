"""What is said to ``save_pretrained`` beside a folder, of a model and what belongs to it, and ``push_to_hub``."""

import copy
import os

import pytest
from support.builders import CLASSIFIERS, CONFIGS, filled_model

import npconv
from npconv.errors import InputError, UnavailableError
from npconv.files.saving_arguments import WITHOUT_EFFECT


@pytest.fixture(params=["model", "configuration", "processor", "pipeline"])
def saved(request):
    config = copy.deepcopy(CONFIGS["convnext"])
    config.update({"id2label": dict(enumerate(["cat", "dog", "emu", "fox"]))})
    model, processor = filled_model(CLASSIFIERS["convnext"], config), npconv.ConvNextImageProcessor(size=24)
    return {
        "model": model,
        "configuration": config,
        "processor": processor,
        "pipeline": npconv.pipeline(model=model, image_processor=processor),
    }[request.param]


def test_what_transformers_takes(saved, tmp_path):
    without = {name: "x" for name in WITHOUT_EFFECT if name != "max_shard_size"}
    saved.save_pretrained(tmp_path / "a", push_to_hub=False, safe_serialization=True, **without)
    saved.save_pretrained(save_directory=str(tmp_path / "b"), is_main_process=True)
    assert sorted(os.listdir(tmp_path / "a")) == sorted(os.listdir(tmp_path / "b")) != []
    saved.save_pretrained(tmp_path / "c", is_main_process=False)
    assert not (tmp_path / "c").exists()


def test_nothing_is_uploaded(saved, tmp_path):
    with pytest.raises(UnavailableError, match="hf upload REPOSITORY FOLDER"):
        saved.push_to_hub("name")
    with pytest.raises(InputError, match="hf upload NAME FOLDER"):
        saved.save_pretrained(tmp_path / "a", push_to_hub=True)
    with pytest.raises(InputError, match="unknown argument 'safe_serialisation'; did you mean 'safe_serialization'"):
        saved.save_pretrained(tmp_path / "a", safe_serialisation=True)
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("folder", [None, 5, ["a"]], ids=repr)
def test_a_folder_is_a_name(saved, folder):
    with pytest.raises(InputError, match="expected a "):
        saved.save_pretrained(folder)
