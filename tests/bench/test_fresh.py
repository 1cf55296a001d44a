"""Cold start and memory of real processes; how long and how large they are is no test's business."""

import pytest
from PIL import Image

from npconv.bench.contenders import npconv_engines, rivals
from npconv.bench.fresh import cold_start, peak_memory, write_picture
from npconv.bench.processes import PROC
from npconv.bench.remote import EngineError

pytestmark = pytest.mark.long


@pytest.fixture
def engine():
    (_, fast) = npconv_engines(1)
    return fast


def test_a_cold_start_ends_with_the_logits_of_a_picture(engine, small_model, tmp_path):
    write_picture(tmp_path / "picture.png")
    with Image.open(tmp_path / "picture.png") as picture:
        assert picture.size == (640, 480)
    assert cold_start(engine, {"model": str(small_model)}, tmp_path / "picture.png", (3, 16, 16)) > 0
    with pytest.raises(EngineError, match="FileNotFoundError"):
        cold_start(engine, {"model": str(small_model)}, tmp_path / "nothing.png", (3, 16, 16))


@pytest.mark.skipif(not (PROC / "self" / "smaps_rollup").is_file(), reason="needs /proc of Linux")
def test_more_pictures_take_more_memory(engine, small_model):
    """64 pictures of 3 x 64 x 64 are 3.1 MB, and the hidden maps are larger."""
    few, many = (peak_memory(engine, {"model": str(small_model)}, (count, 3, 64, 64)) for count in (1, 64))
    assert few + 3e6 < many < 500e6


def test_a_failure_is_an_error(install, small_model):
    install("onnxruntime", "raise ImportError('broken')")
    (rival,) = rivals(["onnxruntime"], 1)
    with pytest.raises(EngineError, match="ImportError: broken"):
        peak_memory(rival, {"model": str(small_model)}, (1, 3, 16, 16))
