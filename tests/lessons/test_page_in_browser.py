"""The built page, opened in Chromium: nothing missing, nothing too wide, no complaint in the console."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.browser import CONTRAST, MISSING, TOO_WIDE, browser, opened

ROOT = Path(__file__).parents[2]
COUNT = len([path for path in (ROOT / "tutorials").glob("*.py") if path.name[:2].isdecimal()])

__all__ = ["browser"]

pytestmark = pytest.mark.page


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder with page and notebooks of all lessons."""
    folder = tmp_path_factory.mktemp("build")
    command = [sys.executable, "-m", "tutorials", "--output", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert done.stdout.count(" s, pictures: ") == COUNT
    return folder


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_the_page_can_be_read(built, browser, width, scheme):
    page, complaints, asked = opened(browser, built / "index.html", width, scheme)
    assert complaints == []
    assert [url for url in asked if not url.startswith(("data:", "file:"))] == []
    assert page.locator("section").count() == COUNT
    assert page.locator("img").count() >= COUNT
    assert page.evaluate(MISSING) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(TOO_WIDE) == []
    assert page.evaluate(CONTRAST, 3) == []
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0] < 100")
    assert dark is (scheme == "dark")
    for link in page.locator("nav a").all():
        assert page.locator(str(link.get_attribute("href"))).count() == 1
    page.context.close()


def test_the_notebooks_are_valid_and_have_their_outputs(built):
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
    paths = sorted(built.glob("*.ipynb"))
    assert len(paths) == COUNT
    for path in paths:
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
        outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
        assert any("data" in output for output in outputs), path.name
        assert "waiting for your answer" in json.dumps(notebook)


def test_a_lesson_that_fails_does_not_stop_the_others(tmp_path):
    folder = tmp_path / "tutorials"
    shutil.copytree(ROOT / "tutorials", folder, ignore=shutil.ignore_patterns("build", "__pycache__", "[0-9]*"))
    (folder / "00_bad.py").write_text("# %% [markdown]\n# # 00 · Bad\n\n# %%\nassert 1 == 2\n", encoding="utf-8")
    (folder / "01_good.py").write_text("# %% [markdown]\n# # 01 · Good\n\n# %%\nprint(1)\n", encoding="utf-8")
    command = [sys.executable, "-m", "tutorials"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 1
    assert "[ 1/2] 00_bad ... failed: 00_bad.py, line 5: AssertionError" in done.stdout
    assert "[ 2/2] 01_good ... 0.0 s, pictures: 0" in done.stdout
    assert (folder / "build" / "01_good.ipynb").exists()
    assert "Good" in (folder / "build" / "index.html").read_text(encoding="utf-8")
