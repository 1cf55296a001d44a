"""A step of training, as it is measured beside PyTorch's."""

import copy
import json
from types import SimpleNamespace

import numpy as np
import pytest
from support.conversion_files import CONFIGS as STAGED

from npconv import AutoConfig, AutoModelForImageClassification
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
    operations = {
        "forward": {"linear": 0.75, "softmax": 0.25, "residual": 0.001},
        "backward": {"linear": 99.0, "residual": 1.0},
    }
    found = Comparison((3.0, 1.5), 2.125, (200_000_000, 400_000_000), agrees=True, operations=operations)
    assert lines(found) == [
        "  seconds: npconv 3.00, PyTorch 1.50, ratio 2.12",
        "  peak memory: npconv 200 MB, PyTorch 400 MB, ratio 0.50",
        "  same logits: yes",
        "  forward: 1.00 s",
        "    linear                    0.750 s   75 %",
        "    softmax                   0.250 s   25 %",
        "  backward: 100.00 s",
        "    linear                   99.000 s   99 %",
        "    residual                  1.000 s    1 %",
    ]


class Side:
    """One side, as the process of an engine answers; the orders that it gets are kept."""

    orders: dict[str, list]

    def __init__(self, environ):
        self.environ = environ

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.orders[self.name].append("end")

    def load(self, name, job):
        config = AutoConfig.from_pretrained(job["model"])
        self.name, self.pid = name, 10 if name == training.NPCONV else 20
        self.orders[name] = [("load", job["threads"], self.environ["OMP_NUM_THREADS"], config.drop_path_rate)]

    def ask(self, do, **arguments):
        self.orders[self.name].append((do, arguments.get("shape")))
        logits = [[1.0, 2.0], [3.0, 4.0 + 1e-5 * (self.pid == 20)]]
        return {"logits": logits} if do == "logits" else {"seconds": {"forward": {}}}


@pytest.mark.parametrize(("model_type", "rate"), [("convnextv2", 0.0), ("cvt", [0.0, 0.0, 0.0])])
def test_both_sides_get_the_same_orders(monkeypatch, model_type, rate):
    config = copy.deepcopy(STAGED[model_type])
    config.drop_path_rate = 0.1 if rate == 0 else [0.1, 0.2, 0.3]
    times = {training.NPCONV: {0: 3.0, 1: 9.0, 2: 4.0}, training.TORCH: {0: 1.5, 1: 2.0, 2: 4.0}}
    turns = []

    def take_turns(engines, weights, rounds):
        turns.append((list(engines), weights, rounds))
        return SimpleNamespace(times=times)

    monkeypatch.setattr(Side, "orders", {}, raising=False)
    monkeypatch.setattr(training, "ARCHITECTURES", {"small": lambda: copy.deepcopy(config)})
    monkeypatch.setattr(training, "RemoteEngine", Side)
    monkeypatch.setattr(training, "take_turns", take_turns)
    monkeypatch.setattr(training, "resident_bytes", lambda pid: pid)
    monkeypatch.setattr(training, "peak_bytes", lambda pid: 3 * pid)
    found = compare("small", batch=2, size=64, threads=3, rounds=5)
    assert config.drop_path_rate != rate
    both = [("load", 3, "3", rate), ("pictures", [2, 3, 64, 64]), ("logits", None)]
    names = [training.NPCONV, training.TORCH]
    assert list(Side.orders) == names
    assert list(Side.orders.values()) == [[*both, ("training_operations", None), "end"], [*both, "end"]]
    assert turns == [(names, dict.fromkeys(names, 1.0), 5)]
    assert found == Comparison((4.0, 2.0), 2.0, (20, 40), agrees=True, operations={"forward": {}})


def test_the_program_prints_each_model(monkeypatch, capsys):
    asked = []

    def compared(name, **settings):
        asked.append((name, settings))
        return Comparison((3.0, 1.5), 2.0, (1, 1), agrees=False, operations={})

    cores = iter([0.25, None])
    monkeypatch.setattr(training, "compare", compared)
    monkeypatch.setattr(training, "OtherPrograms", lambda: SimpleNamespace(cores=lambda: next(cores)))
    training.main([])
    assert asked == [(name, {"batch": 8, "size": 224, "threads": 2, "rounds": 5}) for name in training.MODELS]
    printed = capsys.readouterr().out
    assert "convnextv2-atto, 8 x 224 pixels, 2 threads, float32\n  seconds: npconv 3.00, PyTorch 1.50" in printed
    assert "  same logits: NO\n  other programs used 0.2 cores meanwhile\n" in printed
    assert printed.endswith("  other programs used an unknown number of cores meanwhile\n")


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
