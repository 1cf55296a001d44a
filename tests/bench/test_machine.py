"""What the figures were measured on."""

from npconv.bench import machine


def test_the_processor_is_named(tmp_path):
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nmodel\t\t: 2\nmodel name\t: Fast CPU @ 3 GHz\nflags\t\t: fpu\n")
    assert machine.processor_name(tmp_path / "cpuinfo") == "Fast CPU @ 3 GHz"
    assert machine.processor_name(tmp_path / "nothing") != ""


def test_the_description_is_complete():
    described = machine.describe()
    assert described.keys() == {"processor", "cores", "system", "python", "npconv", "numpy", "blas"}
    assert described["cores"] >= 1
    assert all(value for value in described.values())


def test_the_peak_counts_two_operations_a_multiply_add(monkeypatch):
    class FakeRemote:
        def __init__(self, environment):
            assert environment["OPENBLAS_NUM_THREADS"] == "3"

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def ask(self, do, *, size, calls, device):
            assert (do, size, calls, device) == ("sgemm", 10, 2, "cpu")
            return {"seconds": 0.5}

    monkeypatch.setattr(machine, "RemoteEngine", FakeRemote)
    assert machine.sgemm_peak(3, size=10, calls=2) == 4000
