"""``npconv diff --html``: the report with pictures, in which nothing of a foreign trace does anything."""

import numpy as np
import pytest
from support.compare_samples import TANH, P, golden, make_trace, port

from npconv.cli.program import main

ACT = f"{P}encoder.stages.0.layers.0.act"


@pytest.fixture
def traces(tmp_path):
    golden().save(tmp_path / "golden.safetensors")
    port(mistake=TANH).save(tmp_path / "mine.safetensors")
    return tmp_path


def call(folder, *words):
    return main(["diff", str(folder / "golden.safetensors"), str(folder / "mine.safetensors"), *words])


def test_the_page_shows_the_report_the_arrays_the_explanations_and_the_step(traces, capsys):
    page = traces / "page.html"
    assert call(traces, "--html", str(page)) == 1
    text = page.read_text("utf-8")
    assert f"first divergence: {ACT} " in text
    for heading in ("Side by side", "Explanations that were tried", "The step"):
        assert f"<h2>{heading}</h2>" in text
    assert text.count('alt="difference"') == text.count('alt="reference"') >= 3
    assert "tanh GELU" in text
    assert "def activation(" in text
    assert "run_plan" in text
    assert call(traces, "--html", str(page)) == 1  # its own page may be written again
    capsys.readouterr()


def test_traces_that_agree_have_a_page_with_the_report_alone(traces, capsys):
    port().save(traces / "mine.safetensors")
    assert call(traces, "--html", str(traces / "page.html")) == 0
    text = (traces / "page.html").read_text("utf-8")
    assert "<pre>no divergence" in text
    assert "Side by side" not in text
    capsys.readouterr()


def test_arrays_of_another_shape_are_said_to_be_so(traces, capsys):
    arrays = dict(port())
    arrays[ACT] = np.zeros((2, 3), np.float32)
    make_trace(arrays).save(traces / "mine.safetensors")
    assert call(traces, "--html", str(traces / "page.html")) == 1
    assert "The shapes do not fit" in (traces / "page.html").read_text("utf-8")
    capsys.readouterr()


def test_names_of_a_foreign_trace_do_nothing(traces, capsys):
    arrays = dict(port(mistake=TANH))
    arrays['<script>alert(1)</script>\x1b[31m"'] = np.zeros(3, np.float32)
    make_trace(arrays).save(traces / "mine.safetensors")
    assert call(traces, "--html", str(traces / "page.html")) == 1
    text = (traces / "page.html").read_text("utf-8")
    assert "<script>alert" not in text
    assert "\x1b" not in text
    assert text.count("<script>") == 1
    capsys.readouterr()


def test_a_file_of_someone_else_stays(traces, capsys):
    (traces / "notes.html").write_text("mine")
    assert call(traces, "--html", str(traces / "notes.html")) == 2
    assert "was not written by this command" in capsys.readouterr().err
    assert (traces / "notes.html").read_text() == "mine"
    assert call(traces, "--html", str(traces / "mine.safetensors")) == 2
    assert call(traces, "--html", str(traces / "no" / "page.html")) == 2
    assert capsys.readouterr().err.count("\n") == 2


def test_the_numbers_of_an_index_are_read_and_never_written_over(traces, capsys):
    (traces / "mine.json").write_text("{}")
    (traces / "mine.bin").write_bytes(b"numbers")
    words = ["diff", str(traces / "golden.safetensors"), str(traces / "mine.json")]
    assert main([*words, "--html", str(traces / "mine.bin"), "--force"]) == 2
    assert (traces / "mine.bin").read_bytes() == b"numbers"
    assert "mine.bin" in capsys.readouterr().err
