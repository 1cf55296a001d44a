"""The accuracy in a model card: a table in Markdown, and a section with it that can be written anew."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping
from pathlib import Path

from npconv.errors import InputError
from npconv.images.versions import library_versions
from npconv.messages import escape
from npconv.training.evaluate import Evaluation
from npconv.training.figures import draw_confusion
from npconv.training.measures import per_class, top
from npconv.training.photo_lists import ALL

PICTURE_NAME = "confusion.png"

#: The section that is written anew, up to the next heading.
_SECTION = re.compile(r"^## Accuracy\n.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)

#: The same as a fact for programs, at the top of the card.
_FACT = re.compile(r"(?<=type: accuracy, value: )[0-9.]+")


def accuracy_table(evaluation: Evaluation) -> str:
    """Return the accuracies as a table in Markdown: each class, what it is most often taken for, and all together.

    The evaluation is of a model that tells one class.
    """
    answers, classes = evaluation.answers_of_one_class(), evaluation.photos.classes
    lines = ["| class | right | most often taken for |", "|---|---|---|"]
    for name, each in zip(classes, per_class(answers, len(classes)), strict=True):
        mistaken = ""
        if each.taken_for is not None:
            mistaken = f"{in_markdown(classes[each.taken_for])} ({percent(each.taken_for_count, each.photos)})"
        lines.append(f"| {in_markdown(name)} | {percent(each.right, each.photos)} | {mistaken} |")
    all_ = top(answers, 1)
    return "\n".join(
        [*lines, f"| **all** | **{percent(all_.right, all_.total, 2)}** ({all_.right:,} of {all_.total:,}) | |"]
    )


def versions_text(more: Mapping[str, str] | None = None) -> str:
    """Return in Markdown the versions of the libraries that numbers depend on, and how this Pillow resizes."""
    versions = library_versions() | dict(more or {})
    order = versions.pop("resize_order")
    named = ", ".join(f"{name} {version}" for name, version in versions.items())
    text = f"Measured with {named}. This Pillow resizes in the order `{order}`: others differ in photos."
    return textwrap.fill(text, 110, break_long_words=False, break_on_hyphens=False)


def percent(part: int, whole: int, digits: int = 1) -> str:
    """Return a share in percent; a class without pictures has none."""
    return f"{100 * part / whole:.{digits}f} %" if whole else "no picture"


def read_card(folder: Path) -> str:
    """Return the text of a model's ``README.md``; an `InputError` if there is none with a section for the accuracy."""
    card = folder / "README.md"
    try:
        text = card.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise InputError(f"{card}: cannot be read ({error}); give the folder of a model with a model card") from error
    if not _SECTION.search(text):
        raise InputError(f"{card}: expected a section '## Accuracy' to write the table into; add the heading")
    return text


def write_accuracy(folder: Path, evaluation: Evaluation) -> None:
    """Write the section "Accuracy" of a folder's ``README.md`` and the picture that it shows.

    Raises
    ------
    InputError
        If there is no such file with such a section, it cannot be written, or the model does not tell one class.
    """
    answers, classes = evaluation.answers_of_one_class(), evaluation.photos.classes
    all_ = top(answers, 1)
    part = "" if evaluation.photos.part == ALL else f" of the {evaluation.photos.part} part"
    section = (
        f"## Accuracy\n\n{percent(all_.right, all_.total, 2)} top-1 on the {all_.total:,} pictures{part}, measured by "
        "npconv from\nthe weights as stored, with `npconv evaluate`; "
        f"{100 * all_.low:.2f} to {100 * all_.high:.2f} % with a confidence of 95 %.\n\n"
        f"{versions_text()}\n\n{accuracy_table(evaluation)}\n\n"
        f"![What each class is taken for]({PICTURE_NAME})\n\n"
    )
    text = _FACT.sub(f"{100 * all_.value:.2f}", read_card(folder), count=1)
    text = _SECTION.sub(lambda _: section, text, count=1).rstrip() + "\n"
    try:
        draw_confusion(classes, answers).save(folder / PICTURE_NAME, optimize=True)
        (folder / "README.md").write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror}); copy the model to another folder") from error


def in_markdown(text: str) -> str:
    """Return text for Markdown, also for a cell of a table, that is shown as it is: no markup, no HTML."""
    return re.sub(r"([\\`*_<>\[\]|~&])", r"\\\1", escape(text))


def as_code(text: str) -> str:
    """Return text for Markdown as code, between backticks; twice as many where it has some itself."""
    text = escape(text)
    return f"`` {text} ``" if "`" in text else f"`{text}`"
