"""What is made for a port without a checkpoint: transformers loads the folder, and its run does not diverge."""

import numpy as np
import pytest

from npconv.cli import main
from npconv.golden.compare import compare
from npconv.golden.trace_file import PIXELS, load_trace

pytestmark = pytest.mark.reference


@pytest.mark.parametrize("family", ["convnext", "convnextv2", "cvt", "dinov3_convnext"])
def test_transformers_loads_what_is_made(family, tmp_path):
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    from reference import parity

    from npconv.golden.recorders.record_pytorch import record as record_pytorch

    config = parity.CONFIGS[family](**parity.TINY[family], image_size=64)
    config.to_json_file(tmp_path / "config.json")
    golden, folder = tmp_path / "golden.safetensors", tmp_path / "model"
    words = ["trace", "--make", str(tmp_path / "config.json"), "-o", str(golden), "--checkpoint", str(folder)]
    assert main(words) == 0
    truth = load_trace(golden)
    kind = transformers.AutoModel if family == "dinov3_convnext" else transformers.AutoModelForImageClassification
    theirs = kind.from_pretrained(folder).eval()
    with record_pytorch(theirs, tmp_path / "mine.safetensors"), torch.inference_mode():
        theirs(torch.from_numpy(np.array(truth[PIXELS])), output_hidden_states=True)
    comparison = compare(truth, load_trace(tmp_path / "mine.safetensors"))
    assert comparison.first is None
    assert comparison.hidden == []
    assert len(comparison.differences) > 10
