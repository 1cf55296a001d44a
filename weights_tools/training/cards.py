"""The accuracy in a model card: a table in Markdown and a picture of what is taken for what.

``confusion``, (K, K), counts pictures by their true class (rows) and the model's answer (columns).
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from npconv.errors import InputError
from npconv.images.versions import library_versions

PICTURE_NAME = "confusion.png"

#: The section that is written anew, up to the next heading.
_SECTION = re.compile(r"^## Accuracy\n.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)

#: The same as a fact for programs, at the top of the card.
_FACT = re.compile(r"(?<=type: accuracy, value: )[0-9.]+")

# Pixels.
CELL, MARGIN, FONT_SIZE = 58, 12, 13
#: From no picture of a class to all of them.
LIGHT, DARK, INK, PAPER = (247, 249, 252), (18, 74, 140), (30, 34, 40), (255, 255, 255)
#: More classes give a picture that nobody can read.
MOST_CLASSES = 30


def accuracy_table(classes: list[str], confusion: np.ndarray) -> str:
    """Return the accuracies as a table in Markdown: each class, what it is most often taken for, and all together."""
    lines = ["| class | right | most often taken for |", "|---|---|---|"]
    for index, name in enumerate(classes):
        total, right = confusion[index].sum(), confusion[index, index]
        wrong = np.where(np.arange(len(classes)) == index, 0, confusion[index])
        mistaken = f"{classes[int(wrong.argmax())]} ({_percent(wrong.max(), total)})" if wrong.any() else ""
        lines.append(f"| {name} | {_percent(right, total)} | {mistaken} |")
    total, right = confusion.sum(), np.trace(confusion)
    return "\n".join([*lines, f"| **all** | **{_percent(right, total, 2)}** ({right:,} of {total:,}) | |"])


def versions_text(more: Mapping[str, str] | None = None) -> str:
    """Return in Markdown the versions of the libraries that numbers depend on, and how this Pillow resizes."""
    versions = library_versions() | dict(more or {})
    order = versions.pop("resize_order")
    named = ", ".join(f"{name} {version}" for name, version in versions.items())
    text = f"Measured with {named}. This Pillow resizes in the order `{order}`: others differ in photos."
    return textwrap.fill(text, 110, break_long_words=False, break_on_hyphens=False)


def _percent(part: int, whole: int, digits: int = 1) -> str:
    """Return a share in percent; a class without pictures has none."""
    return f"{100 * part / whole:.{digits}f} %" if whole else "no picture"


def write_accuracy(folder: Path, classes: list[str], confusion: np.ndarray, part: str) -> None:
    """Write the section "Accuracy" of a folder's ``README.md`` and the picture that it shows."""
    card = folder / "README.md"
    count = confusion.sum()
    section = (
        f"## Accuracy\n\n{_percent(np.trace(confusion), count, 2)} top-1 on the {count:,} pictures of the {part} part, "
        "measured by npconv from\nthe weights as stored, with `python -m weights_tools.evaluate`.\n\n"
        f"{versions_text()}\n\n"
        f"{accuracy_table(classes, confusion)}\n\n![What each class is taken for]({PICTURE_NAME})\n\n"
    )
    try:
        text = card.read_text(encoding="utf-8")
        if not _SECTION.search(text):
            raise InputError(f"{card}: expected a section '## Accuracy' to write the table into; add the heading")
        draw_confusion(classes, confusion).save(folder / PICTURE_NAME, optimize=True)
        text = _FACT.sub(f"{100 * np.trace(confusion) / count:.2f}", text, count=1)
        card.write_text(_SECTION.sub(lambda _: section, text, count=1).rstrip() + "\n", encoding="utf-8")
    except (OSError, ValueError) as error:
        raise InputError(
            f"{card}: cannot be written ({error}); give the folder of a model with a model card"
        ) from error


def draw_confusion(classes: list[str], confusion: np.ndarray) -> Image.Image:
    """Draw a confusion matrix: a row for each true class, the darker the more of its pictures got an answer."""
    if len(classes) > MOST_CLASSES:
        raise InputError(f"expected at most {MOST_CLASSES} classes for a picture, got {len(classes)}")
    font = ImageFont.load_default(FONT_SIZE)
    label = MARGIN + max(int(font.getlength(name)) for name in classes) + MARGIN
    top = 3 * FONT_SIZE + 2 * MARGIN
    image = Image.new("RGB", (label + CELL * len(classes) + MARGIN, top + CELL * len(classes) + MARGIN), PAPER)
    draw = ImageDraw.Draw(image)
    draw.text((MARGIN, MARGIN), "Rows: what it is. Columns: the answer, in percent of the row.", INK, font)
    shares = 100 * confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    small = ImageFont.load_default(FONT_SIZE - 2)
    for row, name in enumerate(classes):
        middle = top + CELL * row + CELL // 2
        draw.text((label - MARGIN, middle), name, INK, font, anchor="rm")
        draw.text((label + CELL * row + CELL // 2, top - MARGIN // 2), name, INK, small, anchor="ms")
        for column, share in enumerate(shares[row]):
            left = label + CELL * column
            draw.rectangle((left, top + CELL * row, left + CELL - 2, top + CELL * (row + 1) - 2), _shade(share / 100))
            text = f"{share:.0f}" if round(share) else ""
            draw.text((left + CELL // 2 - 1, middle - 1), text, PAPER if share > 50 else INK, font, anchor="mm")
    return image


def _shade(share: float) -> tuple[int, ...]:
    """Return the colour between light and dark; the root tells small shares apart."""
    return tuple(round(a + (b - a) * share**0.5) for a, b in zip(LIGHT, DARK, strict=True))
