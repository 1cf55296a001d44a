"""The arguments that say where a model comes from, and those of transformers that have no meaning here."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from support.builders import BARE_MODELS, CLASSIFIERS, CONFIGS, filled_model, pictures

import npconv
from npconv.errors import InputError, ModelNotFoundError, NpconvWarning
from npconv.files.checkpoint import INDEX_FILE
from npconv.files.loading_arguments import WITHOUT_EFFECT, Origin, device_of, sort_out
from npconv.files.safetensors import load_file, save_file

ID = "org/model"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    """Caches of the test's own, and a huggingface_hub that nobody may ask."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("NPCONV_CACHE", str(tmp_path / "own"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    module = ModuleType("huggingface_hub")  # without any function: who asks fails
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path / "model")


def write(path, **fields):
    """Write a small model into a folder, and return that."""
    config = npconv.ConvNextConfig.from_dict(CONFIGS["convnext"].to_dict(), **fields)
    config.id2label = dict(enumerate(["cat", "dog", "emu", "fox"]))
    config.label2id = {name: number for number, name in config.id2label.items()}
    filled_model(CLASSIFIERS["convnext"], config).save_pretrained(path)
    npconv.ConvNextImageProcessor(size=24).save_pretrained(path)
    return path


def in_cache(cache, folder, name=ID):
    """Copy a folder into a cache of the hub."""
    repository = cache / f"models--{name.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    shutil.copytree(folder, repository / "snapshots" / COMMIT)


LOADERS = {
    "model": npconv.ConvNextForImageClassification.from_pretrained,
    "auto model": npconv.AutoModelForImageClassification.from_pretrained,
    "config": npconv.ConvNextConfig.from_pretrained,
    "auto config": npconv.AutoConfig.from_pretrained,
    "processor": npconv.ConvNextImageProcessor.from_pretrained,
    "auto processor": npconv.AutoImageProcessor.from_pretrained,
    "classification": lambda *name, **given: npconv.pipeline("image-classification", *name, **given),
    "features": lambda *name, **given: npconv.pipeline("image-feature-extraction", *name, **given),
}
every_loader = pytest.mark.parametrize("load", LOADERS.values(), ids=list(LOADERS))


@every_loader
def test_what_has_no_meaning_is_accepted_in_silence(folder, load):
    names = set(WITHOUT_EFFECT) - {"max_memory"}  # of a pipeline, it is what reading a picture may take
    load(folder, **dict.fromkeys(names, "something"), device_map="auto")


@every_loader
@pytest.mark.parametrize(
    ("typed", "meant"), [("local_file_only", "local_files_only"), ("revisoin", "revision"), ("cache_dirs", "cache_dir")]
)
def test_an_unknown_argument_is_called_one_and_what_is_meant_is_named(folder, load, typed, meant):
    with pytest.raises(InputError, match=f"unknown argument '{typed}'") as caught:
        load(folder, **{typed: "x"})
    assert f"did you mean '{meant}'" in str(caught.value)
    assert "\n" not in str(caught.value)


@every_loader
@pytest.mark.parametrize("name", ["gguf_file", "key_mapping", "state_dict"])
def test_what_would_load_other_weights_is_never_passed_over(folder, load, name):
    with pytest.raises(InputError, match=f"unknown argument '{name}'"):
        load(folder, **{name: "something"})


@every_loader
def test_local_files_only_never_asks_the_network(tmp_path, folder, load):
    with pytest.raises(OSError, match="local_files_only forbids to download it") as caught:  # as in transformers
        load(ID, local_files_only=True)
    assert isinstance(caught.value, ModelNotFoundError)
    in_cache(tmp_path / "hub", folder)
    load(ID, local_files_only=True)


@every_loader
def test_a_cache_of_the_callers_own(tmp_path, folder, load, monkeypatch):
    in_cache(tmp_path / "elsewhere", folder)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    load(ID, cache_dir=tmp_path / "elsewhere")
    load(ID, cache_dir=str(tmp_path / "elsewhere"))
    with pytest.raises(ModelNotFoundError, match=re.escape(repr(str(tmp_path / "nowhere")))):
        load(ID, cache_dir=tmp_path / "nowhere")


@every_loader
def test_a_home_in_the_name_of_a_cache_is_that_of_the_user(tmp_path, folder, load, monkeypatch):
    for variable in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(variable, str(tmp_path))
    in_cache(tmp_path / "elsewhere", folder)
    load(ID, cache_dir="~/elsewhere")


@every_loader
def test_a_subfolder_of_a_folder_and_of_a_hub_model(tmp_path, folder, load):
    (tmp_path / "whole" / "a").mkdir(parents=True)
    folder.rename(tmp_path / "whole" / "a" / "b")
    in_cache(tmp_path / "hub", tmp_path / "whole")
    for name in (tmp_path / "whole", str(tmp_path / "whole"), ID):
        load(name, subfolder="a/b")
        load(name, subfolder="a/b/")
    with pytest.raises(OSError, match=r"no folder 'c' in .*; check subfolder"):
        load(tmp_path / "whole", subfolder="c")
    with pytest.raises(OSError, match="'c' is not in the Hugging Face cache"):
        load(ID, subfolder="c", local_files_only=True)


@every_loader
@pytest.mark.parametrize("subfolder", ["..", "a/../..", "/etc", "a//b", "a\\b", 3])
def test_no_subfolder_leads_out_of_the_model(folder, load, subfolder):
    with pytest.raises(InputError, match="expected subfolder to be a folder inside"):
        load(folder, subfolder=subfolder)


@every_loader
def test_what_a_hub_model_needs_is_passed_on_and_downloaded_once(tmp_path, folder, load, monkeypatch):
    hub, asked, seen = sys.modules["huggingface_hub"], [], []

    def hf_hub_download(repo_id, name, **options):
        asked.append((name, options))
        seen.append(os.environ.get("https_proxy"))
        if not (tmp_path / "elsewhere" / "models--org--model").is_dir():
            in_cache(tmp_path / "elsewhere", folder)
        return str(tmp_path / "elsewhere" / "models--org--model" / "snapshots" / COMMIT / name)

    class HfApi:
        def __init__(self, token):
            asked.append(("api", {"token": token}))

        def list_repo_files(self, repo_id, *, revision):
            return os.listdir(folder)

    hub.hf_hub_download, hub.HfApi, hub.close_session = hf_hub_download, HfApi, lambda: seen.append("closed")
    monkeypatch.setenv("https_proxy", "http://before")
    arguments = {"cache_dir": tmp_path / "elsewhere", "token": "hf_secret", "proxies": {"https": "http://proxy:1"}}
    load(ID, force_download=True, **arguments)
    names = ["config.json", "api", "preprocessor_config.json", "model.safetensors"]
    assert [name for name, _ in asked] == names, "each file once"
    assert {options["token"] for _, options in asked} == {"hf_secret"}
    assert all(options["force_download"] for name, options in asked if name != "api")
    assert {options["cache_dir"] for name, options in asked if name != "api"} == {str(tmp_path / "elsewhere")}
    assert seen == ["closed", "http://proxy:1", "http://proxy:1", "http://proxy:1", "closed"]
    assert os.environ["https_proxy"] == "http://before"
    load(ID, use_auth_token="hf_secret", **{**arguments, "token": None})
    assert len(asked) == len(names), "from the cache, the second time"
    load(ID, use_auth_token="hf_secret", cache_dir=tmp_path / "elsewhere", force_download=True)
    assert asked[-1][1]["token"] == "hf_secret"


@pytest.mark.parametrize("config", ["given", "named"])
def test_a_model_is_downloaded_again_beside_another_configuration(folder, monkeypatch, config):
    asked = []
    monkeypatch.setattr(
        "npconv.api.base.locate", lambda model, origin: asked.append(origin.force_download) or Path(folder)
    )
    given = npconv.AutoConfig.from_pretrained(folder) if config == "given" else folder
    npconv.AutoModelForImageClassification.from_pretrained(ID, config=given, force_download=True)
    assert asked == [True]


def test_proxies_that_cannot_be_passed_on():
    with pytest.raises(InputError, match=r"expected proxies by http, https, all; got 'http://host'"):
        npconv.AutoConfig.from_pretrained(ID, proxies={"http://host": "http://proxy"})
    with pytest.raises(InputError, match="expected proxies to be a dict such as"):
        npconv.AutoConfig.from_pretrained(ID, proxies="http://proxy")


@pytest.mark.parametrize(
    "given",
    [
        {"force_download": True, "local_files_only": True},
        {"cache_dir": 3},
        {"revision": 3},
        {"variant": "../x"},
        {"variant": 16},
        {"subfolder": np.zeros(2)},
        {"token": b"hf_secret"},
        {"token": 5},
        {"token": np.zeros(2)},
        {"token": "hf_secret\nX: y"},
        {"local_files_only": "False"},
        {"force_download": np.zeros(2)},
        {"proxies": {"http": "http://proxy", "https": 5}},
        {"proxies": {"https": "a\0b"}},
        {"proxies": {5: "http://proxy"}},
    ],
    ids=str,
)
@every_loader
def test_values_that_cannot_be_used(folder, load, given):
    before = dict(os.environ)
    with pytest.raises(InputError, match=r"^expected ") as caught:
        load(folder, **given)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)
    assert dict(os.environ) == before


def test_what_stands_for_yes_and_no_and_for_a_token():
    origin, _ = sort_out({"local_files_only": np.True_, "force_download": 0, "token": "hf_secret\n"})
    assert origin == Origin(local_files_only=True, token="hf_secret")
    assert origin.local_files_only is True


def test_a_name_too_long_for_a_cache_is_no_model(tmp_path):
    for given in ({"cache_dir": str(tmp_path / ("x" * 300))}, {"cache_dir": "a\0b"}):
        with pytest.raises(ModelNotFoundError, match="not in the Hugging Face cache"):
            npconv.AutoModel.from_pretrained(ID, local_files_only=True, **given)


@pytest.mark.parametrize("shards", [False, True])
def test_a_variant_is_the_file_that_is_named_so(tmp_path, folder, shards):
    usual = npconv.AutoModelForImageClassification.from_pretrained(folder)
    if shards:
        filled = {name: tensor * np.float32(2) for name, tensor in usual.state_dict().items()}
        npconv.ConvNextForImageClassification(usual.config, filled).save_pretrained(tmp_path / "x", max_shard_size=4000)
        index = (tmp_path / "x" / INDEX_FILE).read_text()
        (folder / "model.safetensors.index.fp16.json").write_text(index.replace("model-0", "model.fp16-0"))
        for shard in (tmp_path / "x").glob("model-0*"):
            shard.rename(folder / shard.name.replace("model-", "model.fp16-"))
    else:
        tensors = load_file(folder / "model.safetensors")
        save_file({n: t * np.float32(2) for n, t in tensors.items()}, folder / "model.fp16.safetensors")
    in_cache(tmp_path / "hub", folder)
    for name in (folder, ID):
        for load in (LOADERS["model"], LOADERS["auto model"], LOADERS["classification"]):
            loaded = load(name, variant="fp16")
            state = getattr(loaded, "model", loaded).state_dict()
            for parameter, value in usual.state_dict().items():
                np.testing.assert_array_equal(state[parameter], 2 * value)
        assert LOADERS["auto config"](name, variant="fp16").num_labels == 4
        assert LOADERS["auto processor"](name, variant="fp16").size == {"shortest_edge": 24}


def test_a_variant_that_is_not_there(tmp_path, folder):
    with pytest.raises(FileNotFoundError, match=r"expected weights named model.fp16.safetensors.*leave out variant"):
        npconv.AutoModel.from_pretrained(folder, variant="fp16")
    with pytest.raises(FileNotFoundError, match=r"model.fp16.safetensors"):
        npconv.AutoModel.from_pretrained("convnextv2-cifar10", variant="fp16")
    in_cache(tmp_path / "hub", folder)
    with pytest.raises(OSError, match=r"with model.fp16.safetensors is not in the Hugging Face cache"):
        npconv.AutoModel.from_pretrained(ID, variant="fp16", local_files_only=True)
    npconv.AutoModelForImageClassification.from_pretrained(folder, variant=None)


@pytest.mark.parametrize(
    ("device_map", "device"),
    [
        (None, None),
        ("auto", None),
        ("balanced", None),
        ({}, None),
        ("cpu", "cpu"),
        ({"": "cpu"}, "cpu"),
        ("cuda:0", "cuda:0"),
        (0, 0),
        ({"": 0}, 0),
        ({"convnext": "cuda", "classifier": "cuda"}, "cuda"),
    ],
)
def test_a_device_map_that_names_a_device_is_a_device(device_map, device):
    assert device_of(device_map) == device
    assert sort_out({"device_map": device_map}) == (Origin(), {} if device is None else {"device": device})


def test_a_device_map_is_heard(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    for load in (LOADERS["model"], LOADERS["auto model"], LOADERS["classification"], LOADERS["features"]):
        load(folder, device_map={"": "cpu"})
        for first_gpu in ("cuda", "cuda:0", 0, {"": 0}):
            with pytest.raises(RuntimeError, match="'cuda' needs CuPy"):
                load(folder, device_map=first_gpu)
        with pytest.raises(InputError, match=r"to name one device, got .*; a model lies on one here"):
            load(folder, device_map={"convnext": "cuda", "classifier": "cpu"})


@pytest.mark.parametrize("name", ["load_in_8bit", "load_in_4bit", "quantization_config"])
def test_quantisation_is_answered_with_a_warning(folder, name):
    with pytest.warns(NpconvWarning, match=f"{name}: npconv does not quantise"):
        npconv.AutoModel.from_pretrained(folder, **{name: True})
    npconv.AutoModel.from_pretrained(folder, **{name: None})


def test_a_new_head_comes_with_a_warning_and_is_named_as_the_way_out(folder):
    names = {0: "a", 1: "b", 2: "c"}
    for given in ({"num_labels": 3}, {"id2label": names}, {"num_labels": 3, "id2label": names}):
        with pytest.raises(
            RuntimeError, match=r"'classifier.weight' has shape .*ignore_mismatched_sizes=True"
        ) as caught:
            npconv.AutoModelForImageClassification.from_pretrained(folder, **given)
        assert "\n" not in str(caught.value)
        with pytest.warns(NpconvWarning, match=r"of another shape in the file.*classifier.weight \(\(4, 14\) there"):
            model = npconv.AutoModelForImageClassification.from_pretrained(
                folder, ignore_mismatched_sizes=True, **given
            )
        assert model.config.num_labels == 3
        assert model.config.id2label == (names if "id2label" in given else {i: f"LABEL_{i}" for i in range(3)})
        assert model.config.label2id == {name: number for number, name in model.config.id2label.items()}
        assert model(pictures()).logits.shape == (2, 3)
        assert [name for name, *_ in model.loading_report.mismatched] == ["classifier.weight", "classifier.bias"]


def test_all_but_the_head_is_that_of_the_file(folder):
    usual = npconv.AutoModelForImageClassification.from_pretrained(folder).state_dict()
    with pytest.warns(NpconvWarning, match="another shape"):
        model = npconv.AutoModelForImageClassification.from_pretrained(
            folder, num_labels=3, ignore_mismatched_sizes=True
        )
    for name, value in model.state_dict().items():
        if not name.startswith("classifier"):
            np.testing.assert_array_equal(value, usual[name])
    assert not model.state_dict()["classifier.bias"].any()


def test_names_of_classes_may_be_replaced_without_a_new_head(folder):
    model = npconv.AutoModelForImageClassification.from_pretrained(
        folder, num_labels=4, id2label={"0": "w", "1": "x", "2": "y", "3": "z"}, label2id={"w": "0"}
    )
    assert model.config.id2label[3] == "z"
    assert model.config.label2id == {"w": "0"}
    model = npconv.AutoModelForImageClassification.from_pretrained(folder, id2label=dict(enumerate("wxyz")))
    assert model.config.label2id == {"w": 0, "x": 1, "y": 2, "z": 3}
    assert npconv.AutoConfig.from_pretrained(folder, num_labels=4).id2label[2] == "emu"
    assert npconv.AutoConfig.from_pretrained(folder, num_labels=None).id2label[2] == "emu"


@pytest.mark.parametrize("family", CONFIGS)
def test_a_head_that_the_file_lacks_is_new_as_well(tmp_path, family):
    filled_model(BARE_MODELS[family], CONFIGS[family]).save_pretrained(tmp_path)
    with pytest.warns(NpconvWarning, match="not in the file, so at their first values"):
        model, told = CLASSIFIERS[family].from_pretrained(
            tmp_path, num_labels=7, ignore_mismatched_sizes=True, output_loading_info=True
        )
    assert model(pictures()).logits.shape == (2, 7)
    assert {"classifier.weight", "classifier.bias"} <= told["missing_keys"]


def test_pictures_of_other_channels(folder):
    with pytest.warns(NpconvWarning, match="patch_embeddings.weight"):
        model = npconv.AutoModelForImageClassification.from_pretrained(
            folder, num_channels=1, ignore_mismatched_sizes=True
        )
    assert model(pictures(channels=1)).logits.shape == (2, 4)


def test_what_did_not_fit_is_told_under_the_names_of_transformers(folder):
    model, told = npconv.AutoModelForImageClassification.from_pretrained(folder, output_loading_info=True)
    assert type(model) is npconv.ConvNextForImageClassification
    assert told == {"missing_keys": set(), "unexpected_keys": set(), "mismatched_keys": set(), "error_msgs": []}
    with pytest.warns(NpconvWarning, match="another shape"):
        _, told = npconv.AutoModelForImageClassification.from_pretrained(
            folder, num_labels=3, ignore_mismatched_sizes=True, output_loading_info=True
        )
    assert ("classifier.weight", (4, 14), (3, 14)) in told["mismatched_keys"]


def test_arguments_that_mean_nothing_to_a_configuration_or_processor_are_given_back(folder):
    given = {"drop_path_rate": 0.5, "foo": 1, "return_unused_kwargs": True, "token": None}
    for load in (npconv.AutoConfig.from_pretrained, npconv.ConvNextConfig.from_pretrained):
        config, unused = load(folder, **given)
        assert (config.drop_path_rate, unused) == (0.5, {"foo": 1})
    config, unused = npconv.ConvNextConfig.from_dict(config.to_dict(), **given | {"token": "x"})
    assert unused == {"foo": 1, "token": "x"}
    given = {"crop_pct": 0.5, "foo": 1, "return_unused_kwargs": True}
    for load in (npconv.AutoImageProcessor.from_pretrained, npconv.ConvNextImageProcessor.from_pretrained):
        processor, unused = load(folder, **given)
        assert (processor.crop_pct, unused) == (0.5, {"foo": 1})


def test_fields_that_every_configuration_has_may_be_replaced(folder):
    config = npconv.AutoConfig.from_pretrained(folder, output_attentions=False, torch_dtype=np.float16)
    assert (config.dtype, config.torch_dtype, config.to_dict()["dtype"]) == (np.float16, np.float16, "float16")
    assert npconv.AutoConfig.from_pretrained(folder, dtype=np.dtype("float64")).to_dict()["dtype"] == "float64"
    model = npconv.AutoModel.from_pretrained(folder, output_attentions=False, strict=False)
    assert model(pictures()).last_hidden_state is not None


@pytest.mark.parametrize("load", [LOADERS["model"], LOADERS["auto model"]])
def test_a_configuration_by_name(tmp_path, folder, load):
    write(tmp_path / "other", hidden_act="relu")
    (tmp_path / "other" / "config.json").rename(tmp_path / "mine.json")
    for config in (tmp_path / "mine.json", str(tmp_path / "mine.json")):
        assert load(folder, config=config).config.hidden_act == "relu"
        assert npconv.AutoConfig.from_pretrained(config).hidden_act == "relu"
    assert load(folder, config=str(folder)).config.hidden_act == "gelu"
    with pytest.raises(InputError, match="unknown argument 'drop_rate'"):
        load(folder, config=CONFIGS["convnext"], drop_rate=3)


@pytest.mark.parametrize("load", [load for name, load in LOADERS.items() if "model" in name or "c" in name[:6]][:6])
def test_the_name_that_transformers_gives_the_first_argument(folder, load):
    load(pretrained_model_name_or_path=folder)


def test_arguments_of_a_pipelines_model_in_a_dict(tmp_path, folder):
    in_cache(tmp_path / "elsewhere", folder)
    given = {"cache_dir": str(tmp_path / "elsewhere"), "low_cpu_mem_usage": True, "local_files_only": True}
    assert npconv.pipeline("image-classification", ID, model_kwargs=given).image_processor.size["shortest_edge"] == 24


def test_the_revision_of_a_model_is_not_that_of_another_ones_processor(tmp_path, folder):
    in_cache(tmp_path / "hub", folder)
    in_cache(tmp_path / "hub", folder, "org/other")
    (tmp_path / "hub" / "models--org--model" / "refs" / "branch").write_text(COMMIT)
    npconv.pipeline("image-classification", ID, image_processor="org/other", revision="branch")


def test_a_new_head_with_the_fast_engine_and_a_file_of_folded_weights(tmp_path, folder):
    given = {"num_labels": 3, "ignore_mismatched_sizes": True}
    with pytest.warns(NpconvWarning, match="another shape"):
        explicit = npconv.AutoModelForImageClassification.from_pretrained(folder, **given)
    for _ in range(2):  # made, then read
        with pytest.warns(NpconvWarning, match="another shape"):
            fast = npconv.AutoModelForImageClassification.from_pretrained(
                folder, engine="fast", cache=tmp_path, **given
            )
        # Float32 sums in another order.
        np.testing.assert_allclose(fast(pictures()).logits, explicit(pictures()).logits, atol=1e-4)


def test_what_comes_with_a_configuration_passes_the_same_door(folder):
    config = npconv.AutoConfig.from_pretrained(folder)
    model = npconv.AutoModel.from_config(config, torch_dtype="float16", trust_remote_code=True, device_map="auto")
    assert model.dtype == np.float16
    processor = npconv.AutoImageProcessor.from_pretrained(folder, config=config)
    assert processor.size == {"shortest_edge": 24}
