"""The built page, opened in Chromium: nothing missing, nothing too wide, no complaint in the console."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COUNT = len([path for path in (ROOT / "tutorials").glob("*.py") if path.name[:2].isdecimal()])

#: For a machine without a display and without a way out.
OPTIONS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync", "--no-first-run")

#: Elements that are wider than the screen and cannot be scrolled by themselves.
TOO_WIDE = """
[...document.querySelectorAll('body *')].filter(e => {
  if (e.getBoundingClientRect().right <= document.documentElement.clientWidth + 1) return false;
  for (let p = e; p; p = p.parentElement) if (['auto', 'scroll'].includes(getComputedStyle(p).overflowX)) return false;
  return true;
}).map(e => e.outerHTML.slice(0, 120))
"""

MISSING = "[...document.images].filter(i => !(i.complete && i.naturalWidth && i.alt)).map(i => i.alt)"

#: Contrast of text and background, as in WCAG 2, of everything that has text of its own.
CONTRAST = """
(() => {
  const light = c => { const [r, g, b] = c.match(/[\\d.]+/g).map(v => v / 255)
    .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const ground = e => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor;
    if (!/, 0\\)$/.test(c)) return c; } return 'rgb(255, 255, 255)'; };
  const worst = [];
  for (const e of document.querySelectorAll('body *')) {
    if (![...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())) continue;
    const [a, b] = [light(getComputedStyle(e).color), light(ground(e))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 3) worst.push([ratio, e.outerHTML.slice(0, 120)]);
  }
  return worst;
})()
"""

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


@pytest.fixture(scope="module")
def browser():
    """A running Chromium."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("there is no Chromium on this machine")
    with playwright.sync_playwright() as library:
        running = library.chromium.launch(executable_path=program, args=list(OPTIONS))
        yield running
        running.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_the_page_can_be_read(built, browser, width, scheme):
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    complaints: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: asked.append(request.url[:60]))
    page.goto((built / "index.html").as_uri())
    assert complaints == []
    assert [url for url in asked if not url.startswith(("data:", "file:"))] == []
    assert page.locator("section").count() == COUNT
    assert page.locator("img").count() >= COUNT
    assert page.evaluate(MISSING) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(TOO_WIDE) == []
    assert page.evaluate(CONTRAST) == []
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0] < 100")
    assert dark is (scheme == "dark")
    for link in page.locator("nav a").all():
        assert page.locator(str(link.get_attribute("href"))).count() == 1
    context.close()


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
