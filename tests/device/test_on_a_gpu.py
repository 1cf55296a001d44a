"""The proof on a GPU, rehearsed on the strict stand-in for a device."""

import pytest

from tests.device import proof


def test_the_stand_in_computes_what_numpy_does(device_stub, monkeypatch):
    found = {**dict(proof.check_cases("stub")), **dict(proof.check_plans("stub"))}
    assert len(found) > 400
    assert max(found.values()) <= 1
    gradients = dict(proof.check_gradients("stub"))
    assert len(gradients) > 1000
    assert max(gradients.values()) <= 1
    with monkeypatch.context() as patch:
        patch.setattr(device_stub, "sqrt", lambda x: x * 1.001)
        assert sum(off > 1 for off in dict(proof.check_cases("stub")).values()) > 10


def test_without_a_gpu_it_says_so(capsys, monkeypatch):
    monkeypatch.setitem(proof.sys.modules, "cupy", None)
    assert proof.main([]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("engine", ["explicit", "nothing"])
def test_an_engine_is_timed_or_what_it_says_is_kept(engine, tmp_path, monkeypatch):
    proof.write_random_model(proof.ARCHITECTURES["convnextv2-atto"](), tmp_path)
    monkeypatch.setattr(proof, "BATCHES", (1,))
    monkeypatch.setattr(proof, "LEAST_CALLS", 1)
    monkeypatch.setattr(proof, "MOST_CALLS", 1)
    [entry] = proof.measure_engine(engine, "convnextv2-atto", proof.Job(str(tmp_path)))
    assert entry.get("milliseconds", 0) > 0 if engine == "explicit" else "KeyError" in entry["failure"]
