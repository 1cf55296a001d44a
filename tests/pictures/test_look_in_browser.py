"""Pages of ``npconv look``, opened in Chromium: read, worked by keyboard, mouse and touch, and compared with arrays.

``NPCONV_PAGES=a.html:b.html`` names further pages, as of large models, that are to be as the others.
"""

from __future__ import annotations

import base64
import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.browser import CONTRAST, TOO_WIDE, browser, opened, out_of_reach, wait
from support.builders import CLASSIFIERS, CONFIGS, filled_model

import npconv
from npconv.cli import main
from npconv.html import element
from npconv.models.parameters import flatten
from npconv.models.plans import make_plan
from npconv.pictures.colours import sequential
from npconv.pictures.html import page as html_page
from npconv.pictures.look import look_at
from npconv.pictures.occlusion import occlusion
from npconv.pictures.overlay import overlay, photo_of
from npconv.pictures.page import to_html
from npconv.pictures.saliency import grad_cam, saliency
from npconv.pictures.views import LEVELS
from npconv.plan.run import run_plan

__all__ = ["browser"]

pytestmark = pytest.mark.page

ROOT = Path(__file__).parents[2]
PHOTO = ROOT / "npconv" / "zoo" / "samples" / "ship.png"
EMBEDDED = ("convnext-cifar10", "convnextv2-cifar10", "cvt-cifar10")
MORE = [Path(path).resolve() for path in os.environ.get("NPCONV_PAGES", "").split(os.pathsep) if path]
EVIL = "<script>window.hit = 1</script><img src=x onerror='window.hit=1'>\"'&\x00\x1b[31m\u202e"

DINOV3 = npconv.DINOv3ConvNextConfig(depths=[1, 2, 1, 1], hidden_sizes=[8, 12, 20, 28])

#: Every part of a page, so that all text is laid out.
OPEN_ALL = "document.querySelectorAll('details').forEach(e => { e.open = true; })"

#: Whether all sheets are drawn.
DRAWN = "[...document.querySelectorAll('.tiles')].every(e => e.querySelector('canvas'))"


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The pages by name: of the embedded models, and of one without classes."""
    folder = tmp_path_factory.mktemp("pages")
    for name in EMBEDDED:
        assert main(["look", str(PHOTO), "--model", name, "-o", str(folder / f"{name}.html")]) == 0
    model = filled_model(npconv.DINOv3ConvNextModel, DINOV3)
    processor = npconv.ConvNextImageProcessor(size={"shortest_edge": 32}, crop_pct=0.875)
    text = to_html(look_at(model, processor, Image.open(PHOTO).convert("RGB"), "dinov3"))
    (folder / "dinov3.html").write_text(text, encoding="utf-8")
    return {path.stem: path for path in [*folder.glob("*.html"), *MORE]}


def pixels(canvas):
    """The colours of a canvas (H, W, 3)."""
    return decoded(canvas.evaluate("canvas => canvas.toDataURL()"))


def decoded(source):
    """The colours of a picture that stands in the page itself (H, W, 3)."""
    png = base64.b64decode(source.removeprefix("data:image/png;base64,"))
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("name", [*EMBEDDED, "dinov3", *(path.stem for path in MORE)])
def test_a_page_can_be_read(browser, pages, name, width, scheme):
    page, complaints, asked = opened(browser, pages[name], width, scheme)
    assert page.evaluate(TOO_WIDE) == []
    page.evaluate(OPEN_ALL)
    wait(page, DRAWN)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(TOO_WIDE) == []
    assert page.evaluate(CONTRAST, 4.5) == []
    assert page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0] < 100") is (scheme == "dark")
    assert complaints == []
    assert [url for url in asked if not url.startswith(("data:", "file:"))] == []
    assert len([url for url in asked if url.startswith("file:")]) == 1
    page.context.close()


@pytest.mark.parametrize("name", ["convnextv2-cifar10", "cvt-cifar10", "dinov3", *(path.stem for path in MORE)])
def test_every_control_is_reached_by_tab(browser, pages, name):
    """Those of the first steps, too, opened by a key."""
    page, complaints, _ = opened(browser, pages[name], 400, "light")
    for index in (3, 8):
        page.locator("details > summary").nth(index).press("Enter")
    page.evaluate("for (const e of document.querySelectorAll('[data-atlas]')) e.closest('details').open = true")
    assert page.locator("details[open]").count() >= 2
    assert out_of_reach(page) == []
    assert complaints == []
    page.context.close()


def test_channels_are_chosen_by_keys(browser, pages):
    page, complaints, _ = opened(browser, pages["convnextv2-cifar10"], 1280, "light")
    sheet = page.locator("[data-sheet]:not(details *)").first
    channels = sheet.get_attribute("data-sheet").split(",")
    tiles = sheet.locator(".tiles span")
    tiles.nth(15).wait_for()
    assert tiles.all_inner_texts() == channels[:16]
    sheet.locator("select").press("ArrowDown")
    wait(page, f"[...document.querySelectorAll('.tiles span')][0].textContent === '{channels[16]}'")
    assert tiles.all_inner_texts() == channels[16:32]
    sheet.locator("input").fill("3, 8-10 999")
    sheet.locator("input").press("Enter")
    wait(page, "document.activeElement.closest('[data-sheet]').querySelectorAll('.tiles span').length === 4")
    assert tiles.all_inner_texts() == ["3", "8", "9", "10"]
    assert sheet.locator("output").inner_text() == "not among those to choose from: 999"
    atlas = tile_of(page, sheet, channels.index("8"))
    np.testing.assert_array_equal(pixels(tiles.nth(1).locator("canvas")), atlas)
    assert complaints == []
    page.context.close()


def tile_of(page, sheet, place):
    """The tile of a sheet, cut out of its picture as it stands in the page."""
    tiles = sheet.locator(".tiles")
    height, width = map(int, tiles.get_attribute("data-tile").split(","))
    source = page.locator(f"#{tiles.get_attribute('data-from')}").get_attribute("src")
    atlas = decoded(source)
    row, column = divmod(place, atlas.shape[1] // width)
    return atlas[row * height : (row + 1) * height, column * width : (column + 1) * width]


def expected_map(array, query, keys, token):
    """The colours of the attention of a query (S,)."""
    values = array[query, -keys[0] * keys[1] :].reshape(keys)
    return sequential(np.rint(values / values.max() * 2 * LEVELS) / (2 * LEVELS))


def test_the_attention_map_is_that_of_the_place_under_the_pointer(browser, pages):
    """By mouse, touch and arrow keys, of the mean over heads and of one head, and of the class token."""
    model = npconv.AutoModelForImageClassification.from_pretrained("cvt-cifar10")
    x = npconv.AutoImageProcessor.from_pretrained("cvt-cifar10")(Image.open(PHOTO))["pixel_values"]
    plan = make_plan(model.config, model.task)
    arrays = {step.name: array for step, array in run_plan(plan, {"pixel_values": x}, flatten(model.params))}
    name = next(n for n in arrays if "stages.2.layers.1" in n and n.endswith("attention.attention.dropout"))
    heads, mean = arrays[name][0], arrays[name][0].mean(axis=0)
    np.testing.assert_allclose(heads.sum(axis=-1), 1, rtol=1e-5)

    page, complaints, _ = opened(browser, pages["cvt-cifar10"], 400, "light", has_touch=True)
    block = page.locator("#steps details").nth([step.name for step in plan].index(name))
    block.locator("summary").press("Enter")
    viewer = block.locator("[data-atlas]")
    rows, columns, height, width, tokens = map(int, viewer.get_attribute("data-atlas").split(","))
    photo, shown = viewer.locator("canvas").nth(0), viewer.locator("canvas").nth(1)
    assert (rows, columns, tokens) == (8, 8, 1)  # all places of the map

    def is_shown(array, row, column):
        query = 0 if row is None else tokens + row * columns + column
        np.testing.assert_array_equal(pixels(shown), expected_map(array, query, (height, width), tokens))

    wait(page, "document.querySelector('details[open] output').textContent.startsWith('row')")
    photo.scroll_into_view_if_needed()
    box = photo.bounding_box()

    def place(row, column):
        return box["x"] + (column + 0.5) * box["width"] / columns, box["y"] + (row + 0.5) * box["height"] / rows

    page.mouse.move(*place(2, 6))
    is_shown(mean, 2, 6)
    page.touchscreen.tap(*place(7, 0))
    is_shown(mean, 7, 0)
    photo.press("ArrowRight")
    photo.press("ArrowUp")
    is_shown(mean, 6, 1)
    viewer.locator("select").press("ArrowDown")
    viewer.locator("select").press("ArrowDown")
    is_shown(heads[1], 6, 1)
    viewer.locator("button").press("Enter")
    is_shown(heads[1], None, None)
    assert viewer.locator("output").inner_text() == "class token"
    photo.press("ArrowLeft")
    is_shown(heads[1], 6, 0)
    assert complaints == []
    page.context.close()


def test_what_the_answer_rests_on_is_that_of_the_chosen_class_and_stage(browser, pages):
    """As ``npconv.pictures.overlay`` lays it over the photo, but for its steps of colour."""
    name = "convnext-cifar10"
    model = npconv.AutoModelForImageClassification.from_pretrained(name)
    processor = npconv.AutoImageProcessor.from_pretrained(name)
    x = processor(Image.open(PHOTO))["pixel_values"]
    page, complaints, _ = opened(browser, pages[name], 1280, "light")
    page.locator("#reasons select").nth(0).select_option("1")
    page.locator("#reasons select").nth(1).select_option("0")
    label = page.locator("#reasons select").nth(0).evaluate("e => e.selectedOptions[0].textContent").split(" (")[0]
    visible = page.locator("#reasons canvas:visible")
    assert visible.count() == 3
    wait(page, "[...document.querySelectorAll('#reasons canvas')].every(e => e.width === 32)")
    values = [
        occlusion(model, x, label),
        np.abs(saliency(model, x, label)).max(axis=1)[0],
        grad_cam(model, x, label, 0)[0],
    ]
    for number, found in enumerate(values):
        expected = overlay(photo_of(x, processor), found).pixels.astype(int)
        # A step of 48 is at most 8 of 255 in a colour, of which six tenths are seen; half of it, and roundings.
        assert np.abs(pixels(visible.nth(number)).astype(int) - expected).max() <= 5
    assert complaints == []
    page.context.close()


def test_a_link_to_a_function_shows_its_source(browser, pages):
    page, complaints, _ = opened(browser, pages["dinov3"], 400, "light")
    page.locator("#steps summary").first.press("Enter")
    page.locator("#steps details[open] a").press("Enter")
    wait(page, "document.getElementById('source-conv2d').open")
    assert page.locator("#sources pre:visible").count() == 1
    assert complaints == []
    page.context.close()


def test_labels_and_titles_from_outside_do_nothing(tmp_path, browser):
    model = filled_model(CLASSIFIERS["convnext"], CONFIGS["convnext"])
    model.config.id2label = {number: f"{number}{EVIL}" for number in model.config.id2label}
    processor = npconv.ConvNextImageProcessor(size={"shortest_edge": 32}, crop_pct=0.875)
    text = to_html(look_at(model, processor, Image.open(PHOTO).convert("RGB"), EVIL))
    for number, evil in enumerate((text, html_page(EVIL, element("p", element("code", EVIL, title=EVIL))))):
        path = tmp_path / f"{number}.html"
        path.write_text(evil, encoding="utf-8")
        page, complaints, asked = opened(browser, path, 400, "light")
        assert page.title() == EVIL.replace("\x00", "\\x00").replace("\x1b", "\\x1b").replace("\u202e", "\\u202e")
        assert page.evaluate("window.hit === undefined && document.querySelectorAll('script').length === 1")
        assert page.locator("[onerror]").count() == 0
        assert complaints == []
        assert [url for url in asked if not url.startswith(("data:", "file:"))] == []
        page.context.close()


def test_a_page_may_not_ask_for_anything(browser, pages):
    page, complaints, _ = opened(browser, pages["dinov3"], 400, "light")
    page.evaluate("document.body.append(Object.assign(new Image(), { src: 'https://example.org/a.png' }))")
    wait(page, "![...document.images].at(-1).complete || true")
    assert [text for text in complaints if "Content Security Policy" in text]
    page.context.close()
