"""Pages in an installed Chromium, and what is asked of every one of them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

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

#: Text whose contrast to its background, as in WCAG 2, is less than a number.
CONTRAST = """
(least) => {
  const light = c => { const [r, g, b] = c.match(/[\\d.]+/g).map(v => v / 255)
    .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const ground = e => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor;
    if (!/, 0\\)$/.test(c)) return c; } return 'rgb(255, 255, 255)'; };
  const worst = [];
  for (const e of document.querySelectorAll('body *')) {
    if (['SCRIPT', 'STYLE'].includes(e.tagName)) continue;
    if (![...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())) continue;
    const [a, b] = [light(getComputedStyle(e).color), light(ground(e))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (!(ratio >= least)) worst.push([ratio, e.outerHTML.slice(0, 120)]);
  }
  return worst;
}
"""

#: Everything that can be worked, is seen, and can be reached by the key Tab: marked with its number, which is returned.
CONTROLS = """
[...document.querySelectorAll('a[href], select, button, input, summary, [tabindex]')]
  .filter(e => e.tabIndex >= 0 && e.checkVisibility()).map((e, i) => { e.dataset.control = i; return e.tagName; })
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A running Chromium."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("there is no Chromium on this machine")
    with playwright.sync_playwright() as library:
        running = library.chromium.launch(executable_path=program, args=list(OPTIONS))
        yield running
        running.close()


def opened(browser: Any, path: Path, width: int, scheme: str, **options: Any) -> tuple[Any, list[str], list[str]]:
    """Open a page; return it, and what it says in the console and asks for, from now on."""
    page = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, **options).new_page()
    complaints: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: asked.append(request.url[:60]))
    page.goto(path.as_uri())
    return page, complaints, asked


def wait(page: Any, condition: str) -> None:
    """Wait until a condition in JavaScript holds; where evaluation by the page itself is forbidden."""
    for _ in range(200):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(25)
    raise AssertionError(f"it never came to be: {condition}")


def out_of_reach(page: Any) -> list[str]:
    """Press Tab from the first control through a page; return the controls that were not met."""
    tags = page.evaluate(CONTROLS)
    met = {0}
    page.evaluate("document.querySelector('[data-control]').focus()")
    for _ in range(2 * len(tags)):  # Chromium stops at what scrolls, too
        if len(met) == len(tags):
            break
        page.keyboard.press("Tab")
        number = page.evaluate("document.activeElement.dataset.control")
        met |= {int(number)} if number is not None else set()
    return [f"{tag} {number}" for number, tag in enumerate(tags) if number not in met]
