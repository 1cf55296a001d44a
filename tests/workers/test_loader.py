"""What workers load, and how often."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest
from support import streaming_tasks as tasks

from npconv import InputError
from npconv.api.folded import findable
from npconv.workers.loader import Loader


def test_each_process_loads_once(tmp_path):
    log = tmp_path / "log"
    load = Loader.of(tasks.load, name="model", log=str(log))
    with ThreadPoolExecutor(4) as executor:
        assert list(executor.map(lambda _: Loader(load.content)(), range(20))) == ["MODEL"] * 20
    assert len(log.read_text().splitlines()) == 1
    other = Loader.of(tasks.load, name="other", log=str(log))
    assert [other(), other(), load()] == ["OTHER", "OTHER", "MODEL"]
    assert [line.split()[0] for line in log.read_text().splitlines()] == ["model", "other", "model"]


def test_what_cannot_be_sent_is_refused():
    with pytest.raises(InputError, match=r"can be sent to another process, got others .*use workers=1"):
        Loader.of(tasks.load, name=lambda: None)


def test_a_model_is_found_from_any_folder(tmp_path, monkeypatch):
    (tmp_path / "model").mkdir()
    monkeypatch.chdir(tmp_path)
    assert findable("model") == os.path.join(tmp_path, "model")
    assert findable(tmp_path / "model") == str(tmp_path / "model")
    assert findable("facebook/convnextv2-tiny-1k-224") == "facebook/convnextv2-tiny-1k-224"
