"""What npconv does around huggingface_hub, with a stand-in for it and for the conversion."""

import json
import os
import sys
import threading
import time
import warnings
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from npconv.errors import ModelNotFoundError, NpconvWarning, WeightsError, WeightsNotFoundError
from npconv.files.disk import locate
from npconv.files.loading_arguments import Origin
from npconv.models.naming import Decision

ID = "org/model"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
SHARDS = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
INDEX = json.dumps({"weight_map": {"a": SHARDS[0], "b": SHARDS[1]}})


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    """Caches of the test's own, and no huggingface_hub."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("NPCONV_CACHE", str(tmp_path / "own"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)


@pytest.fixture
def snapshot(tmp_path):
    """The folder of the model's commit in the cache; empty."""
    folder = tmp_path / "hub" / "models--org--model"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(COMMIT)
    (folder / "snapshots" / COMMIT).mkdir(parents=True)
    return folder / "snapshots" / COMMIT


@pytest.fixture
def hub(monkeypatch, snapshot):
    """A huggingface_hub that fetches from ``files`` (name -> text), and notes what it was asked for."""
    module = ModuleType("huggingface_hub")
    module.files, module.calls = {}, []

    def hf_hub_download(repo_id, name, *, revision, cache_dir):
        module.calls.append((name, revision))
        assert (repo_id, cache_dir) == (ID, os.environ["HF_HUB_CACHE"])
        (snapshot / name).write_text(module.files[name])
        return str(snapshot / name)

    class HfApi:
        def list_repo_files(self, repo_id, *, revision):
            assert (repo_id, revision) == (ID, COMMIT)
            return list(module.files)

    module.hf_hub_download, module.HfApi = hf_hub_download, HfApi
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)
    return module


@pytest.fixture
def conversion(monkeypatch):
    """A conversion that writes two empty files, and notes what it was asked for."""
    module = ModuleType("npconv.convert")
    module.calls = []

    def convert(source, directory, *, name):
        module.calls.append((Path(source), name))
        fill(Path(directory), "config.json", "model.safetensors")
        return SimpleNamespace(decisions=list(module.decisions))

    module.convert = convert
    module.decisions = [Decision("depths", [1], "shapes", "note", "blocks of each stage")]
    monkeypatch.setitem(sys.modules, "npconv.convert", module)
    return module


def fill(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_text("{}")


def converted(tmp_path):
    return tmp_path / "own" / "converted" / "org--model" / COMMIT


@pytest.mark.parametrize(
    ("weights", "fetched"),
    [
        (["tf_model.h5", "pytorch_model.bin", "model.safetensors"], ["model.safetensors"]),
        ([*SHARDS, "model.safetensors.index.json"], ["model.safetensors.index.json", *SHARDS]),
        (["a/model.safetensors", "model.safetensors", "../model-00001-of-00001.safetensors"], ["model.safetensors"]),
    ],
)
def test_only_one_form_of_the_weights_is_fetched(hub, snapshot, weights, fetched):
    hub.files = {"README.md": "", "config.json": "{}", "modeling.py": "", "processor_config.json": "{}"}
    hub.files |= {name: INDEX if name.endswith("json") else "" for name in weights}
    assert locate(ID, Origin(revision="main")) == snapshot
    assert hub.calls[0] == ("config.json", "main")
    assert hub.calls[1:] == [(name, COMMIT) for name in ["processor_config.json", *fetched]]


@pytest.mark.parametrize("weights", ["pytorch_model.bin", "tf_model.h5"])
def test_other_weights_are_converted_once(hub, snapshot, conversion, tmp_path, weights):
    hub.files = {"config.json": "{}", weights: ""}
    with pytest.warns(NpconvWarning, match="org/model has no .safetensors file: converting it, once, into"):
        assert locate(ID) == converted(tmp_path)
    assert conversion.calls == [(snapshot, ID)]
    assert [name for name, _ in hub.calls] == ["config.json", weights]
    assert locate(ID) == converted(tmp_path), "and without a word"
    assert len(conversion.calls) == 1
    assert [path.name for path in converted(tmp_path).parent.iterdir()] == [COMMIT], "nothing is left beside it"


@pytest.mark.parametrize("weights", ["model.safetensors", "pytorch_model.bin"])
@pytest.mark.parametrize("more", [{}, {"model_type": "timm_wrapper"}])
def test_a_repository_of_timm_is_converted_whatever_its_files(hub, snapshot, conversion, tmp_path, weights, more):
    hub.files = {
        "config.json": json.dumps({"architecture": "convnext_atto", "pretrained_cfg": {}, **more}),
        weights: "",
    }
    with pytest.warns(NpconvWarning, match="org/model is in the form of timm: converting it, once, into"):
        assert locate(ID) == converted(tmp_path)
    assert conversion.calls == [(snapshot, ID)]
    assert locate(ID) == converted(tmp_path), "and without a word"


def test_what_may_surprise_in_a_conversion_is_said(snapshot, conversion):
    fill(snapshot, "config.json", "pytorch_model.bin")
    conversion.decisions += [
        Decision("", None, "numbers", "warning", "the weights hold NaN"),
        Decision("preprocessing", {"crop_pct": 0.875}, "", "guess", "as no file says"),
    ]
    with pytest.warns(NpconvWarning) as said:
        locate(ID)
    assert [str(warning.message) for warning in said][1:] == [
        "org/model: the weights hold NaN",
        "org/model: preprocessing crop_pct 0.875: a guess, as no file says",
    ]


def test_cached_weights_are_converted_without_a_network(snapshot, conversion, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    fill(snapshot, "config.json", "pytorch_model.bin")
    with pytest.warns(NpconvWarning, match="converting it"):
        assert locate(ID) == converted(tmp_path)


def test_a_conversion_that_fails_leaves_nothing(snapshot, conversion, tmp_path):
    fill(snapshot, "config.json", "pytorch_model.bin")

    def convert(source, directory, **_):
        fill(Path(directory), "config.json")
        raise WeightsError("posix.system is refused")

    conversion.convert = convert
    with (
        pytest.warns(NpconvWarning, match="converting it"),
        pytest.raises(WeightsError, match=r"^org/model: its weights cannot be converted: posix.system is refused$"),
    ):
        locate(ID)
    assert list(converted(tmp_path).parent.iterdir()) == []


def test_a_part_of_a_conversion_is_never_used(snapshot, conversion, tmp_path):
    fill(snapshot, "config.json", "pytorch_model.bin")
    fill(converted(tmp_path), "config.json")
    with pytest.warns(NpconvWarning, match="converting it"):
        assert locate(ID) == converted(tmp_path)
    assert (converted(tmp_path) / "model.safetensors").is_file()


def test_another_process_was_faster(snapshot, conversion, tmp_path):
    fill(snapshot, "config.json", "pytorch_model.bin")
    mine = conversion.convert

    def convert(source, directory, **arguments):
        made = mine(source, directory, **arguments)
        fill(converted(tmp_path), "config.json", "model.safetensors", "of the other")
        return made

    conversion.convert = convert
    with pytest.warns(NpconvWarning, match="converting it"):
        assert locate(ID) == converted(tmp_path)
    assert (converted(tmp_path) / "of the other").is_file()


def test_a_cache_that_cannot_be_written(snapshot, conversion, tmp_path):
    fill(snapshot, "config.json", "pytorch_model.bin")
    (tmp_path / "own").touch()  # a file where the folder should be fails for every user, an access right not for root
    with pytest.raises(WeightsError, match=r"npconv cannot write its cache .*; set NPCONV_CACHE to another folder"):
        locate(ID)
    assert conversion.calls == []


@pytest.mark.parametrize(
    ("variables", "folder"),
    [
        ({"NPCONV_CACHE": "mine", "XDG_CACHE_HOME": "xdg"}, "mine"),
        ({"NPCONV_CACHE": "", "XDG_CACHE_HOME": "xdg"}, "xdg/npconv"),
        ({"NPCONV_CACHE": "", "XDG_CACHE_HOME": "", "HOME": "home"}, "home/.cache/npconv"),
    ],
)
def test_own_cache(tmp_path, monkeypatch, variables, folder):
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value and str(tmp_path / value))
    assert import_module("npconv.hub.download").own_cache() == tmp_path / folder


@pytest.mark.parametrize(
    "names", [["model.safetensors"], ["config.json"], ["config.json", "model.safetensors.index.json", SHARDS[0]]]
)
def test_what_another_program_left_incomplete_is_fetched(hub, snapshot, names):
    fill(snapshot, *names)
    if len(names) == 3:
        (snapshot / names[1]).write_text(INDEX)
    hub.files = {"config.json": "{}", "model.safetensors": ""}
    assert locate(ID) == snapshot
    assert [name for name, _ in hub.calls] == ["config.json", "model.safetensors"]


def test_shards_that_the_hub_lacks(hub, snapshot):
    hub.files = {"config.json": "{}", "model.safetensors.index.json": INDEX, SHARDS[0]: ""}
    with pytest.raises(WeightsError, match="the download lacks shards that its index names"):
        locate(ID)


def test_no_weights_at_all(hub):
    hub.files = {"config.json": "{}", "flax_model.msgpack": ""}
    with pytest.raises(ModelNotFoundError, match=r"expected weights named model.safetensors, .*'flax_model.msgpack'"):
        locate(ID)


def test_a_blob_with_another_hash(hub, snapshot):
    hub.files = {"config.json": "{}", "model.safetensors": ""}
    blob = snapshot.parents[1] / "blobs" / ("a" * 64)
    fill(blob.parent, blob.name)
    try:
        (snapshot / "model.safetensors").symlink_to(blob)
    except OSError:
        pytest.skip("the system has no links")
    with pytest.raises(
        WeightsError, match=r"model.safetensors arrived damaged: SHA-256 .*, expected aaaaaaaaaaaa\.\.\."
    ):
        locate(ID)
    assert not blob.exists()
    assert not (snapshot / "model.safetensors").is_symlink()


@pytest.mark.parametrize(
    ("name", "bases", "message"),
    [
        ("OSError", (), "download failed: 'no network'"),
        ("RepositoryNotFoundError", (OSError,), "no such repository"),
        ("GatedRepoError", (OSError,), "log in with"),
        ("RevisionNotFoundError", (OSError,), "no such revision"),
    ],
)
def test_a_download_that_fails(hub, name, bases, message):
    error = type(name, bases, {}) if bases else OSError

    def hf_hub_download(*_, **__):
        raise error("no\nnetwork")

    hub.hf_hub_download = hf_hub_download
    with pytest.raises(ModelNotFoundError, match=message) as caught:
        locate(ID)
    assert str(caught.value).isprintable()


def test_a_hub_that_cannot_be_reached(hub):
    def hf_hub_download(*_, **__):
        raise type("LocalEntryNotFoundError", (OSError,), {})("many words") from ConnectionError("refused")

    hub.hf_hub_download = hf_hub_download
    with pytest.raises(ModelNotFoundError, match="download failed: the hub cannot be reached: 'refused'"):
        locate(ID)


def test_an_error_without_words(hub):
    def hf_hub_download(*_, **__):
        raise TimeoutError

    hub.hf_hub_download = hf_hub_download
    with pytest.raises(ModelNotFoundError, match="download failed: 'TimeoutError'"):
        locate(ID)


@pytest.mark.parametrize("value", ["1", "true", "YES", "on"])
def test_offline(monkeypatch, hub, value):
    monkeypatch.setenv("HF_HUB_OFFLINE", value)
    with pytest.raises(ModelNotFoundError, match="HF_HUB_OFFLINE forbids"):
        locate(ID)
    assert hub.calls == []


def test_two_conversions_of_one_hub_id_are_one(snapshot, conversion, tmp_path):
    fill(snapshot, "config.json", "pytorch_model.bin")
    mine, began = conversion.convert, threading.Event()

    def convert(source, directory, **arguments):
        began.set()
        time.sleep(0.2)  # the other may come at any time in it, or later: it finds either a lock or a model
        return mine(source, directory, **arguments)

    conversion.convert = convert
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        threads = [threading.Thread(target=lambda: found.append(locate(ID))) for _ in range(2)]
        threads[0].start()
        began.wait(60)
        threads[1].start()
        for thread in threads:
            thread.join(60)
    assert found == [converted(tmp_path)] * 2
    assert len(conversion.calls) == 1
    assert list(converted(tmp_path).parent.iterdir()) == [converted(tmp_path)]


def test_a_file_that_is_missing_in_a_conversion_is_no_cache_that_cannot_be_written(snapshot, conversion):
    """Though that is an OSError as well."""
    fill(snapshot, "config.json", "pytorch_model.bin")

    def convert(*_, **__):
        raise WeightsNotFoundError("expected a file, but 'shard' does not exist")

    conversion.convert = convert
    with (
        pytest.warns(NpconvWarning, match="converting it"),
        pytest.raises(WeightsError, match=r"^org/model: its weights cannot be converted: expected a file, but 'shard'"),
    ):
        locate(ID)


def test_a_subfolder_is_converted_into_a_folder_of_its_own(snapshot, conversion, tmp_path):
    for folder in (snapshot, snapshot / "a" / "b"):
        fill(folder, "config.json", "pytorch_model.bin")
    made = []
    for subfolder in ("", "a/b"):
        with pytest.warns(NpconvWarning, match="converting it"):
            made.append(locate(ID, Origin(subfolder=subfolder)))
        assert locate(ID, Origin(subfolder=subfolder)) == made[-1]
    assert made == [converted(tmp_path), converted(tmp_path).with_name(f"{COMMIT}--a--b")]
    assert [source for source, _ in conversion.calls] == [snapshot, snapshot / "a" / "b"]


def test_a_subfolder_and_a_variant_are_fetched_and_nothing_else(hub, snapshot, tmp_path):
    (snapshot / "a" / "b").mkdir(parents=True)
    inside = ["config.json", "model.safetensors", "model.fp16.safetensors", "preprocessor_config.json"]
    hub.files = {name: "{}" for name in [*inside, *(f"a/b/{name}" for name in inside)]}
    assert locate(ID, Origin(subfolder="a/b", variant="fp16")) == snapshot / "a" / "b" / "model.fp16.safetensors"
    fetched = ["a/b/config.json", "a/b/preprocessor_config.json", "a/b/model.fp16.safetensors"]
    assert [name for name, _ in hub.calls] == fetched
    with pytest.raises(ModelNotFoundError, match=r"expected weights named model.bf16.safetensors, .*leave out variant"):
        locate(ID, Origin(variant="bf16"))
