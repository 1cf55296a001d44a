"""What is wrong with labelled photos, as data, and the sentence that people read."""

from __future__ import annotations

from dataclasses import dataclass

from npconv.messages import escape

#: Kind -> the sentence after the name of the file, folder, class or column; ``{}`` stands for the detail.
SENTENCES = {
    "unreadable": "{}",
    "missing": "there is no such file",
    "url": "is a URL, which is not fetched; download the photo and give its path",
    "twice": "stands there twice, and counts once",
    "rows_differ": "has other labels in another row, so it is left out; several labels of a photo stand in one row",
    "no_class": "lies in no folder of a class, so it is left out",
    "no_label": "has no label, so it is left out",
    "two_labels": "is the same picture as {}, which has another label, so both are left out",
    "not_pictures": "{} left out, not pictures",
    "empty_class": "there is no photo of this class, so it is left out",
    "one_photo": "there is one photo of this class: it is trained on, and nothing tells how well it is recognised",
    "class_in_one_part": "this class has photos in the part {} alone",
    "unknown_class": "the model has no such class; {} left out",
    "ambiguous_class": "the model has several classes of this name; {} left out",
    "column": "this column is left out",
}

#: Those by which photos that have a label are lost.
LOSSES = frozenset(
    ("unreadable", "missing", "url", "rows_differ", "no_class", "no_label", "two_labels", "unknown_class")
) | {"ambiguous_class"}


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, and what of: a file or a folder, a class, or a column of a table.

    `kind` is one of `SENTENCES`, and `detail` what its sentence needs.
    """

    kind: str
    file: str
    detail: str = ""


def describe(problem: Problem) -> str:
    """Return what is wrong, on one line."""
    return f"{escape(problem.file)}: {SENTENCES[problem.kind].format(escape(problem.detail))}"


def counted(count: int, one: str, several: str) -> str:
    """Return a number of things in words, with the verb that follows if the words have one."""
    return f"{count:,} {one if count == 1 else several}"
