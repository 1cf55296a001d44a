"""A step of training, as it is measured beside PyTorch's."""

import copy
import json

import numpy as np
import pytest

from npconv import AutoModelForImageClassification
from npconv.bench import training
from npconv.bench.orders import Orders, answer
from npconv.bench.processes import PROC
from npconv.bench.training import Comparison, compare, lines
from npconv.plan.operations_backward import BACKWARD
from npconv.plan.operations_forward import FORWARD

pytestmark = pytest.mark.long


def order(worker, do, **arguments):
    return answer(worker, json.dumps({"do": do, **arguments}))


def test_a_step_gives_the_logits_of_training(small_model):
    worker = Orders()
    order(worker, "load", runner="explicit_training", job={"model": str(small_model)})
    order(worker, "pictures", shape=[2, 3, 21, 17])
    model = AutoModelForImageClassification.from_pretrained(small_model)
    expected = model(worker._pictures, training=True, rng=0).logits
    np.testing.assert_array_equal(np.float32(order(worker, "logits")["logits"]), expected)


def test_every_operation_of_a_step_has_its_time(small_model):
    worker = Orders()
    order(worker, "pictures", shape=[2, 3, 21, 17])
    found = order(worker, "training_operations", model=str(small_model))["seconds"]
    of_v2 = {"conv2d", "depthwise_conv2d", "layer_norm", "pointwise_conv2d", "activation", "grn_apply", "residual"}
    assert of_v2 <= set(found["forward"]) <= set(FORWARD)
    assert of_v2 <= set(found["backward"]) <= set(BACKWARD)
    assert all(seconds > 0 for operations in found.values() for seconds in operations.values())


def test_the_figures_as_lines():
    operations = {"forward": {"linear": 0.75, "softmax": 0.25, "residual": 0.001}, "backward": {"linear": 2.0}}
    found = Comparison((3.0, 1.5), 2.125, (200_000_000, 400_000_000), agrees=True, operations=operations)
    assert lines(found) == [
        "  seconds: npconv 3.00, PyTorch 1.50, ratio 2.12",
        "  peak memory: npconv 200 MB, PyTorch 400 MB, ratio 0.50",
        "  same logits: yes",
        "  forward: 1.00 s",
        "    linear                    0.750 s   75 %",
        "    softmax                   0.250 s   25 %",
        "  backward: 2.00 s",
        "    linear                    2.000 s  100 %",
    ]


@pytest.mark.reference
@pytest.mark.skipif(not (PROC / "self" / "status").is_file(), reason="needs /proc of Linux")
@pytest.mark.parametrize("model_type", ["convnextv2", "cvt"])
def test_both_sides_compute_the_same(monkeypatch, model_type):
    pytest.importorskip("transformers")
    from support.small_models import CONFIGS

    monkeypatch.setattr(training, "ARCHITECTURES", {"small": lambda: copy.deepcopy(CONFIGS[model_type])})
    found = compare("small", batch=2, size=64, threads=1, rounds=1)
    assert found.agrees
    assert min(found.peak_bytes) > 0
    assert min(found.seconds) > 0
