"""``npconv convert``, ``export``, ``inspect`` and ``verify``: the same commands under either name of the program."""

from __future__ import annotations

import pytest
from support.conversion_files import STEPS, in_dialect, pickled_tensors

import npconv.cli
import weights_tools.__main__


def call(capsys, main, *words):
    status = main([str(word) for word in words])
    return status, *capsys.readouterr()


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "source.pth"
    path.write_bytes(pickled_tensors(in_dialect("cvt", "microsoft")))
    return path


def test_both_names_do_the_same_and_say_who_speaks(capsys, tmp_path, source):
    fields = [word for name, value in STEPS.items() for word in ("--set", f"{name}={value}")]
    calls = [
        ("inspect", source, *fields),
        ("convert", source, tmp_path / "o", *fields, "--force"),
        ("verify", tmp_path / "o"),
        ("export", tmp_path / "o", tmp_path / "x.safetensors", "--to", "huggingface", "--force"),
        ("convert", source, tmp_path / "p"),
        ("export", tmp_path / "o", tmp_path / "y.safetensors", "--to", "jax"),
    ]
    statuses = []
    for words in calls:
        status, out, err = call(capsys, npconv.cli.main, *words)
        other, out_there, err_there = call(capsys, weights_tools.__main__.main, *words)
        assert (status, out) == (other, out_there)
        assert all(line.startswith("npconv: ") for line in err.splitlines())
        there = err_there.replace("weights_tools: ", "npconv: ").replace("python -m weights_tools ", "npconv ")
        assert there == err
        statuses.append(status)
    assert statuses == [0, 0, 0, 0, 2, 2]


def test_the_choices_of_an_option_are_listed(capsys):
    assert call(capsys, npconv.cli.main, "export", "--help")[1].count("torchvision") == 1
    assert "float64, float32, bfloat16, float16 (default" in " ".join(
        call(capsys, npconv.cli.main, "convert", "--help")[1].split()
    )
    assert "microsoft/cvt-13" in call(capsys, npconv.cli.main, "verify", "--help")[1]
