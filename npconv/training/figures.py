"""What a model takes for what, and the photos that it is wrong about, as Pillow pictures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from npconv.training.measures import Answers, confusion

#: What `ImageFont.load_default` gives.
Font: TypeAlias = ImageFont.FreeTypeFont | ImageFont.ImageFont

# Pixels.
CELL, MARGIN, FONT_SIZE = 58, 12, 13
#: Names of classes are cut where they would take more.
LONGEST_NAME = 200
#: From no picture of a class to all of them.
LIGHT, DARK, INK, PAPER = (247, 249, 252), (18, 74, 140), (30, 34, 40), (255, 255, 255)
#: Lines behind what is drawn.
FRAME = (222, 226, 232)
#: More classes give a picture that nobody can read.
MOST_CLASSES = 30

#: Of a contact sheet: the edge of a photo, and how many are in a row.
THUMBNAIL, IN_A_ROW = 160, 5


class Caption(NamedTuple):
    """A photo of a contact sheet and the lines below it."""

    picture: Image.Image
    lines: tuple[str, ...]


def draw_confusion(classes: Sequence[str], answers: Answers) -> Image.Image:
    """Draw what is taken for what: a row for each true class, the darker the more of its photos got an answer.

    Parameters
    ----------
    classes : sequence of str
        K names. Of more than `MOST_CLASSES`, those are drawn that have the most wrong answers.
    answers : Answers
    """
    shown = _most_mistaken(answers, len(classes))
    photos = np.bincount(answers.truth, minlength=len(classes))[shown, None]
    shares = confusion(answers, shown) / np.maximum(photos, 1)
    font = ImageFont.load_default(FONT_SIZE)
    names = [cut(classes[number], font, LONGEST_NAME) for number in shown]
    widest = max(int(font.getlength(name)) for name in names)
    left = MARGIN + widest + MARGIN
    upright = widest > CELL
    top = 3 * MARGIN + FONT_SIZE + (widest if upright else FONT_SIZE)
    size = CELL * len(names)
    title = "Rows: what it is. Columns: the answer, in percent of the row."
    if len(names) < len(classes):
        title += f" The {len(names)} of {len(classes):,} classes with the most mistakes."
    image = Image.new(
        "RGB", (max(left + size, int(font.getlength(title)) + MARGIN) + MARGIN, top + size + MARGIN), PAPER
    )
    draw = ImageDraw.Draw(image)
    draw.text((MARGIN, MARGIN), title, INK, font)
    for place, name in enumerate(names):
        middle = CELL * place + CELL // 2
        draw.text((left - MARGIN, top + middle), name, INK, font, anchor="rm")
        if upright:
            _upright_text(image, (left + middle, top - MARGIN // 2), name, font)
        else:
            draw.text((left + middle, top - MARGIN // 2), name, INK, font, anchor="ms")
    for row, column in np.ndindex(shares.shape):
        _draw_cell(draw, (left + CELL * column, top + CELL * row), float(shares[row, column]), font)
    return image


def contact_sheet(photos: Iterable[Caption], title: str) -> Image.Image:
    """Draw photos in rows, with some lines of text below each; of none, the title alone."""
    font = ImageFont.load_default(FONT_SIZE)
    cells = [_cell_of(photo, font) for photo in photos]
    width = THUMBNAIL + MARGIN
    height = max((cell.height for cell in cells), default=0) + MARGIN
    rows = -(-len(cells) // IN_A_ROW)
    top = 2 * MARGIN + FONT_SIZE
    columns = min(len(cells), IN_A_ROW)
    wide = max(columns * width, int(font.getlength(title)) + MARGIN)
    image = Image.new("RGB", (wide + MARGIN, top + rows * height), PAPER)
    ImageDraw.Draw(image).text((MARGIN, MARGIN), title, INK, font)
    for place, cell in enumerate(cells):
        row, column = divmod(place, IN_A_ROW)
        image.paste(cell, (MARGIN + column * width, top + row * height))
    return image


def cut(text: str, font: Font, width: int) -> str:
    """Return text such that it is no wider than so many pixels."""
    text = text if text.isprintable() else ascii(text)
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}...") > width:
        text = text[:-1]
    return f"{text}..."


def _most_mistaken(answers: Answers, classes: int) -> np.ndarray:
    """Return the numbers of the classes that are drawn, in their order: those in most of the mistakes."""
    is_wrong = ~answers.is_right
    wrong = sum(np.bincount(numbers[is_wrong], minlength=classes) for numbers in (answers.truth, answers.answer))
    return np.sort(np.argsort(-np.asarray(wrong), kind="stable")[:MOST_CLASSES])


def _draw_cell(draw: ImageDraw.ImageDraw, place: tuple[int, int], share: float, font: Font) -> None:
    """Draw a share as a square, with its percentage unless it is about 0."""
    left, top = place
    draw.rectangle((left, top, left + CELL - 2, top + CELL - 2), _shade(share))
    text = f"{100 * share:.0f}" if round(100 * share) else ""
    middle = (left + CELL // 2 - 1, top + CELL // 2 - 1)
    draw.text(middle, text, PAPER if share > 0.25 else INK, font, anchor="mm")


def _shade(share: float) -> tuple[int, ...]:
    """Return the colour between light and dark; the root tells small shares apart."""
    return tuple(round(a + (b - a) * share**0.5) for a, b in zip(LIGHT, DARK, strict=True))


def _upright_text(image: Image.Image, foot: tuple[int, int], text: str, font: Font) -> None:
    """Write text from the bottom to the top, centred above its foot."""
    strip = Image.new("RGB", (int(font.getlength(text)) + 1, 2 * FONT_SIZE), PAPER)
    ImageDraw.Draw(strip).text((0, FONT_SIZE), text, INK, font, anchor="lm")
    turned = strip.transpose(Image.Transpose.ROTATE_90)
    image.paste(turned, (foot[0] - FONT_SIZE, foot[1] - turned.height))


def _cell_of(photo: Caption, font: Font) -> Image.Image:
    """Return a photo, made small, in the middle of a square, and its lines below."""
    line = FONT_SIZE + 4
    cell = Image.new("RGB", (THUMBNAIL, THUMBNAIL + line * len(photo.lines) + 4), PAPER)
    picture = photo.picture.convert("RGB")
    scale = THUMBNAIL / max(picture.size)
    width, height = (max(1, round(edge * scale)) for edge in picture.size)
    small = picture.resize((width, height), Image.Resampling.BICUBIC)
    cell.paste(small, ((THUMBNAIL - width) // 2, (THUMBNAIL - height) // 2))
    draw = ImageDraw.Draw(cell)
    for number, text in enumerate(photo.lines):
        draw.text((0, THUMBNAIL + 4 + line * number), cut(text, font, THUMBNAIL), INK, font)
    return cell
