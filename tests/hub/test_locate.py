import os
import subprocess
import sys
from pathlib import Path

import pytest

from npconv.errors import ModelNotFoundError
from npconv.files.disk import embedded_models, locate
from npconv.files.loading_arguments import Origin

HUB_ID = "facebook/convnextv2-tiny"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
CACHE_VARIABLES = [
    "HF_HUB_CACHE",
    "HUGGINGFACE_HUB_CACHE",
    "HF_HOME",
    "XDG_CACHE_HOME",
    "HF_HUB_OFFLINE",
    "NPCONV_CACHE",
]


@pytest.fixture(autouse=True)
def surroundings(tmp_path, monkeypatch):
    """An empty current folder and home, no cache, no huggingface_hub, and a zoo of two models."""
    for variable in CACHE_VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    (tmp_path / "current").mkdir()
    monkeypatch.chdir(tmp_path / "current")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    for name in ("small-b", "small-a", "no-model"):
        (tmp_path / "zoo" / name).mkdir(parents=True)
        if name != "no-model":
            (tmp_path / "zoo" / name / "config.json").write_text("{}")
    monkeypatch.setattr(sys.modules["npconv.files.disk"], "_zoo", lambda: tmp_path / "zoo")


def make_snapshot(cache, revision="main", commit=COMMIT, files=("config.json", "model.safetensors")):
    folder = cache / f"models--{HUB_ID.replace('/', '--')}"
    snapshot = folder / "snapshots" / commit
    snapshot.mkdir(parents=True)
    for name in files:
        (snapshot / name).touch()
    reference = folder / "refs" / revision
    reference.parent.mkdir(parents=True, exist_ok=True)
    reference.write_text(commit)
    return snapshot


def test_embedded_models(tmp_path):
    assert embedded_models() == ["small-a", "small-b"]
    assert locate("small-b") == tmp_path / "zoo" / "small-b"


def test_no_zoo(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules["npconv.files.disk"], "_zoo", lambda: tmp_path / "none")
    assert embedded_models() == []
    with pytest.raises(ModelNotFoundError, match=r"no embedded model \(none is installed\)"):
        locate("small-a")


def test_the_zoo_is_in_the_package(monkeypatch):
    monkeypatch.undo()
    import npconv

    zoo = Path(npconv.__file__).parent / "zoo"
    expected = sorted(path.parent.name for path in zoo.glob("*/config.json"))
    assert embedded_models() == expected
    assert [locate(name) for name in expected] == [zoo / name for name in expected]


def test_folder(tmp_path):
    folder = tmp_path / "current" / "small-a"
    folder.mkdir()
    assert locate(str(folder)) == locate(folder) == folder
    assert locate("small-a") == tmp_path / "zoo" / "small-a", "an embedded model comes first"
    assert locate("./small-a") == locate(Path("small-a")) == Path("small-a"), "unless a path is meant"


def test_a_folder_comes_before_a_hub_model(tmp_path):
    make_snapshot(tmp_path / "home" / ".cache" / "huggingface" / "hub")
    Path(HUB_ID).mkdir(parents=True)
    assert locate(HUB_ID) == Path(HUB_ID)


def test_file(tmp_path):
    path = tmp_path / "weights.safetensors"
    path.touch()
    assert locate(path) == locate(str(path)) == path
    (tmp_path / "pytorch_model.bin").touch()
    with pytest.raises(ModelNotFoundError, match="is a file, expected a"):
        locate(tmp_path / "pytorch_model.bin")


@pytest.mark.parametrize(
    ("variables", "cache"),
    [
        ({}, "home/.cache/huggingface/hub"),
        ({"XDG_CACHE_HOME": "xdg"}, "xdg/huggingface/hub"),
        ({"HF_HOME": "hf", "XDG_CACHE_HOME": "xdg"}, "hf/hub"),
        ({"HUGGINGFACE_HUB_CACHE": "old", "HF_HOME": "hf"}, "old"),
        ({"HF_HUB_CACHE": "new", "HUGGINGFACE_HUB_CACHE": "old", "HF_HOME": "hf"}, "new"),
        ({"HF_HUB_CACHE": "", "HF_HOME": "hf"}, "hf/hub"),
    ],
)
def test_cache_folder(tmp_path, monkeypatch, variables, cache):
    for variable, folder in variables.items():
        monkeypatch.setenv(variable, folder and str(tmp_path / folder))
    snapshot = make_snapshot(tmp_path / cache)
    assert locate(HUB_ID) == snapshot


def test_cache_folder_in_the_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", os.path.join("~", "models"))
    snapshot = make_snapshot(tmp_path / "home" / "models" / "hub")
    assert locate(HUB_ID) == snapshot


def test_revisions(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    main = make_snapshot(tmp_path / "cache")
    other = make_snapshot(tmp_path / "cache", "refs/pr/1", "f" * 40)
    assert locate(HUB_ID) == locate(HUB_ID, Origin(revision="main")) == main
    assert locate(HUB_ID, Origin(revision="refs/pr/1")) == locate(HUB_ID, Origin(revision="f" * 40)) == other
    with pytest.raises(ModelNotFoundError, match=r"revision 'v2'"):
        locate(HUB_ID, Origin(revision="v2"))


@pytest.mark.parametrize(
    "revision", ["", ".", "..", "../../x", "/etc", "a//b", "a\\b", "main\n", "a\0", "a/../../b", "x" * 200]
)
def test_hostile_revisions(revision):
    with pytest.raises(ModelNotFoundError, match="expected a branch, tag or commit") as caught:
        locate(HUB_ID, Origin(revision=revision))
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("commit", ["..", "../../outside", "/", "", ".", "a/b", "\u00e9", "x" * 1000])
def test_a_reference_that_leads_out_of_the_cache(tmp_path, monkeypatch, commit):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    make_snapshot(tmp_path / "cache")
    folder = tmp_path / "cache" / "models--facebook--convnextv2-tiny"
    (folder / "outside").mkdir()
    (folder / "outside" / "model.safetensors").touch()
    (folder / "model.safetensors").touch()
    (folder / "refs" / "main").write_text(commit, encoding="utf-8")
    with pytest.raises(ModelNotFoundError, match="is not in the Hugging Face cache"):
        locate(HUB_ID)


@pytest.mark.parametrize(
    "model",
    [
        *("unknown", "", " ", "a/b/c", "../x", "org/..", "org/../../etc", "/no/such", "org/", "/name"),
        *("org/na me", "org/name\n", "org/na\0me", "\0", "\ud800", "org\\name", "x" * 10_000, "org/" + "x" * 10_000),
        *("org/a..b", "org/a--b", "-org/name", "org/.name", "https://huggingface.co/org/name", "none.safetensors"),
    ],
)
def test_what_is_no_model(tmp_path, model):
    (tmp_path / "x").touch()
    with pytest.raises(ModelNotFoundError, match=r"(no embedded model \(small-a, small-b\)|is a file)") as caught:
        locate(model)
    assert str(caught.value).isprintable()


def test_a_path_is_never_a_hub_id(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    make_snapshot(tmp_path)
    with pytest.raises(ModelNotFoundError):
        locate(Path(HUB_ID))


def test_without_huggingface_hub():
    with pytest.raises(ModelNotFoundError, match=r"'facebook/convnextv2-tiny': .*pip install huggingface_hub"):
        locate(HUB_ID)


@pytest.mark.parametrize(
    ("model", "meant"),
    [
        ("convnextv2-atto-1k-244", "facebook/convnextv2-atto-1k-224"),
        ("facebook/convnextv2_atto_1k_224", "facebook/convnextv2-atto-1k-224"),
        ("facebook/cvt-13", "microsoft/cvt-13"),
        ("small-aa", "small-a"),
    ],
)
def test_a_name_that_is_nearly_right(model, meant):
    with pytest.raises(ModelNotFoundError, match=rf"; did you mean {meant}\?$"):
        locate(model)


@pytest.mark.parametrize("model", [HUB_ID, "org/name", "microsoft/cvt-13", "x" * 10_000])
def test_nothing_is_suggested_for_other_names(model):
    with pytest.raises(ModelNotFoundError) as caught:
        locate(model)
    assert ("did you mean" in str(caught.value)) == (model == HUB_ID)
    assert f"did you mean {model}" not in str(caught.value)


def test_a_configuration_finds_hub_ids_though_nothing_else_was_imported(tmp_path):
    cache = tmp_path / "cache"
    snapshot = make_snapshot(cache)
    (snapshot / "config.json").write_text('{"model_type": "convnextv2", "num_labels": 5}')
    code = (
        "from npconv.models.convnextv2.configuration import ConvNextV2Config\n"
        f"print(ConvNextV2Config.from_pretrained({HUB_ID!r}).num_labels)"
    )
    environment = {**os.environ, "HF_HUB_CACHE": str(cache), "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("5\n", "")
