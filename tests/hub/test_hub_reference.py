"""Hub ids with the real huggingface_hub, in processes of their own, against a server of the test."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.hub_server import COMMIT, ID, etag, serving

from npconv import ConvNextImageProcessor, ConvNextV2Config, ConvNextV2ForImageClassification
from npconv.files.checkpoint import load_checkpoint

pytest.importorskip("huggingface_hub", reason="the real client of the hub is needed")

pytestmark = pytest.mark.reference

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """The files of a small model, by name."""
    folder = tmp_path_factory.mktemp("published")
    config = ConvNextV2Config(num_stages=2, hidden_sizes=[6, 10], depths=[1, 3], num_labels=5)
    ConvNextV2ForImageClassification(config).save_pretrained(folder)
    ConvNextImageProcessor(size=16).save_pretrained(folder)
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "README.md"}


@pytest.fixture
def hub(published):
    """A hub with that model and a pickle beside it."""
    with serving({**published, "pytorch_model.bin": b"not to be fetched"}) as hub:
        yield hub


@pytest.fixture
def python(hub, tmp_path):
    """Run Python with an empty cache and the test's hub; return the finished process."""

    def run(*words, **variables):
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGINGFACE"))},
            **{"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf"), "NPCONV_CACHE": str(tmp_path / "own")},
            **{"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "PYTHONPATH": str(ROOT)},
            **{"HF_HUB_DOWNLOAD_TIMEOUT": "10", "HF_HUB_ETAG_TIMEOUT": "10", "NO_PROXY": "127.0.0.1"},
            **variables,
        }
        command = [sys.executable, *words]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, cwd=tmp_path)

    return run


@pytest.fixture
def npconv(python):
    """Run ``npconv info ID``; return the finished process."""
    return lambda model=ID, **variables: python("-m", "npconv", "info", model, **variables)


def snapshot(tmp_path):
    return tmp_path / "hf" / "hub" / f"models--{ID.replace('/', '--')}" / "snapshots" / COMMIT


def assert_one_line(done, *words):
    """Assert that a run failed with one line of npconv's, after whatever huggingface_hub logs."""
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    *before, last = done.stderr.splitlines()
    assert last.startswith("npconv: error: ")
    assert not [line for line in before if line.startswith(("npconv:", "Traceback"))]
    for word in words:
        assert word in last


def test_first_download_and_second_call(hub, npconv, tmp_path, published):
    done = npconv()
    assert done.returncode == 0, done.stderr
    assert str(snapshot(tmp_path)) in done.stdout.replace("\n", "").replace(" ", "")
    assert "npconv:" not in done.stderr
    assert hub.fetched() == ["config.json", "preprocessor_config.json", "model.safetensors"]
    assert (snapshot(tmp_path) / "model.safetensors").read_bytes() == published["model.safetensors"]
    asked = len(hub.requests)
    again = npconv(HF_HUB_OFFLINE="1")
    assert again.returncode == 0
    assert again.stderr == ""
    assert npconv().returncode == 0
    assert len(hub.requests) == asked, "a cached model needs no network"


def test_offline_without_a_cache(hub, npconv):
    assert_one_line(npconv(HF_HUB_OFFLINE="1"), ID, "HF_HUB_OFFLINE forbids")
    assert hub.requests == []


@pytest.fixture
def weights(hub, tmp_path):
    """The bytes of a model of 20 MB, which the hub now has: its client writes pieces of 10 MiB."""
    config = ConvNextV2Config(num_stages=2, hidden_sizes=[384, 640], depths=[1, 1], num_labels=5)
    ConvNextV2ForImageClassification(config).save_pretrained(tmp_path / "large")
    for name in ("config.json", "model.safetensors"):
        hub.files[name] = (tmp_path / "large" / name).read_bytes()
    return hub.files["model.safetensors"]


def test_a_connection_that_breaks_is_resumed(hub, npconv, tmp_path, weights):
    cut = len(weights) - 1_000_000
    hub.cuts["model.safetensors"] = [cut]
    assert npconv().returncode == 0
    asked = [wanted for method, name, wanted in hub.requests if (method, name) == ("GET", "model.safetensors")]
    assert len(asked) == 2
    assert asked[0] is None
    start = int(asked[1].removeprefix("bytes=").removesuffix("-"))
    assert 10 * 2**20 <= start <= cut
    assert (snapshot(tmp_path) / "model.safetensors").read_bytes() == weights


def test_a_download_that_is_given_up_can_be_repeated(hub, npconv, tmp_path, published):
    hub.cuts["model.safetensors"] = [1000] * 100
    assert_one_line(npconv(), ID, "download failed")
    assert not (snapshot(tmp_path) / "model.safetensors").exists()
    hub.cuts.clear()
    assert npconv().returncode == 0
    assert (snapshot(tmp_path) / "model.safetensors").read_bytes() == published["model.safetensors"]


def test_a_wrong_hash(hub, npconv, tmp_path, published):
    weights = published["model.safetensors"]
    hub.lies["model.safetensors"] = weights[:-1] + bytes([weights[-1] ^ 1])
    done = npconv()
    assert_one_line(done, ID, "model.safetensors arrived damaged", etag("model.safetensors", weights)[:12])
    blobs = tmp_path / "hf" / "hub" / f"models--{ID.replace('/', '--')}" / "blobs"
    assert not (blobs / etag("model.safetensors", weights)).exists()
    hub.lies.clear()
    assert npconv().returncode == 0
    assert (snapshot(tmp_path) / "model.safetensors").read_bytes() == weights


def test_content_of_another_size(hub, npconv, tmp_path, published):
    hub.lies["model.safetensors"] = published["model.safetensors"][:-8]
    assert_one_line(npconv(), ID, "download failed")
    assert not (snapshot(tmp_path) / "model.safetensors").exists()


def test_no_weights(hub, npconv):
    del hub.files["model.safetensors"], hub.files["pytorch_model.bin"]
    assert_one_line(npconv(), ID, "expected weights named model.safetensors", "the repository has")


def test_no_configuration(hub, npconv):
    del hub.files["config.json"]
    assert_one_line(npconv(), ID, "the repository has no file config.json")


def test_no_repository(npconv):
    assert_one_line(
        npconv("facebook/convnextv2-ato-1k-224"), "no such repository", "did you mean facebook/convnextv2-atto-1k-224?"
    )


def test_weights_that_are_listed_and_not_there(hub, npconv):
    del hub.files["model.safetensors"]
    hub.extra.append("model.safetensors")
    assert_one_line(npconv(), ID, "download failed")


def test_a_server_that_does_not_answer(hub, npconv, tmp_path):
    hub.hangs.add("model.safetensors")
    assert_one_line(npconv(HF_HUB_DOWNLOAD_TIMEOUT="1"), ID, "download failed")
    assert not (snapshot(tmp_path) / "model.safetensors").exists()


def test_names_that_lead_elsewhere_are_not_asked_for(hub, npconv, tmp_path):
    hub.extra += ["../../../evil.safetensors", "/elsewhere/model.safetensors", "a/model-00001-of-00001.safetensors"]
    hub.extra += ["model-00001-of-00001.safetensors/../x", "modeling.py"]
    assert npconv().returncode == 0
    assert hub.fetched() == ["config.json", "preprocessor_config.json", "model.safetensors"]
    assert sorted(path.name for path in snapshot(tmp_path).iterdir()) == sorted(hub.fetched())


def test_a_pickle_is_converted_once(hub, npconv, tmp_path, published):
    torch = pytest.importorskip("torch")
    (tmp_path / "model.safetensors").write_bytes(hub.files.pop("model.safetensors"))
    tensors = load_checkpoint(tmp_path / "model.safetensors")
    torch.save({name: torch.from_numpy(np.array(array)) for name, array in tensors.items()}, tmp_path / "saved.bin")
    hub.files["pytorch_model.bin"] = (tmp_path / "saved.bin").read_bytes()
    first = npconv()
    assert first.returncode == 0, first.stderr
    assert first.stderr.count("npconv: warning: ") == 1
    assert "converting it, once" in first.stderr
    folder = tmp_path / "own" / "converted" / ID.replace("/", "--") / COMMIT
    converted = load_checkpoint(folder)
    assert converted.keys() == tensors.keys()
    assert all((converted[name] == tensors[name]).all() for name in tensors)
    asked = len(hub.requests)
    again = npconv()
    assert (again.returncode, again.stderr) == (0, "")
    assert len(hub.requests) == asked
    assert again.stdout == first.stdout


def test_a_hostile_pickle(hub, npconv, tmp_path):
    del hub.files["model.safetensors"]
    marker = tmp_path / "marker"
    hub.files["pytorch_model.bin"] = b"cos\nsystem\n(S'touch %s'\ntR." % os.fsencode(marker)
    done = npconv()
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(f"npconv: error: {ID}: its weights cannot be converted: ")
    assert not marker.exists()
    assert not list((tmp_path / "own").rglob("*.safetensors"))


@pytest.fixture
def load(python):
    """Run lines in which `ID` is that of the model; return the finished process."""
    return lambda lines, **variables: python("-c", f"import npconv, os\nID = {ID!r}\n{lines}", **variables)


def test_the_token_and_the_cache_of_a_call(hub, load, tmp_path):
    for kind in ("AutoConfig", "AutoImageProcessor", "AutoModel"):
        hub.requests.clear()
        hub.tokens.clear()
        done = load(f"npconv.{kind}.from_pretrained(ID, token='hf_of_mine', cache_dir='{kind}')")
        assert done.returncode == 0, done.stderr
        assert hub.tokens == {"Bearer hf_of_mine"}
        assert sorted(path.name for path in (tmp_path / kind).iterdir() if path.is_dir()) == [
            *([".locks"] if (tmp_path / kind / ".locks").is_dir() else []),
            f"models--{ID.replace('/', '--')}",
        ]
        assert "hf_of_mine" not in done.stdout + done.stderr
    assert not (tmp_path / "hf" / "hub").exists()


def test_local_files_only_and_force_download(hub, load):
    done = load("npconv.AutoModel.from_pretrained(ID, local_files_only=True)")
    assert "local_files_only forbids to download it" in done.stderr
    assert hub.requests == []
    once = ["config.json", "preprocessor_config.json", "model.safetensors"]
    assert load("npconv.AutoModelForImageClassification.from_pretrained(ID)").returncode == 0
    assert hub.fetched() == once
    assert load("npconv.pipeline('image-classification', ID, local_files_only=True)").returncode == 0
    assert hub.fetched() == once
    done = load("npconv.pipeline('image-classification', ID, force_download=True)")
    assert done.returncode == 0, done.stderr
    assert hub.fetched() == [*once, *once]


def test_a_proxy_is_asked_for_an_address_that_only_it_knows(hub, load):
    call = (
        f"npconv.AutoConfig.from_pretrained(ID, proxies={{'http': {hub.url!r}}})\n"
        "assert os.environ['http_proxy'] == ''\n"
        "npconv.AutoConfig.from_pretrained(ID, revision='other')"
    )
    done = load(call, HF_ENDPOINT="http://hub.invalid", http_proxy="", HTTP_PROXY="", no_proxy="", NO_PROXY="")
    assert hub.hosts == {"hub.invalid"}
    assert "the hub cannot be reached" in done.stderr, "without the proxy once more"
