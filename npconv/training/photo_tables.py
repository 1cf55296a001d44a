"""Tables of photos: a CSV file with a row for each, its file and its labels.

The first row names the columns; where it is that of a photo, the first column is the file and the others are labels.
Files are named as seen from the folder of the table.
"""

from __future__ import annotations

import csv
import io
import math
import os
from pathlib import PurePath
from typing import NamedTuple

from npconv.errors import InputError
from npconv.images.decode import is_url
from npconv.images.folder import SUFFIXES
from npconv.messages import escape, listed, quoted
from npconv.training.photo_lists import ALL, PARTS, Entry, PhotoList
from npconv.training.problems import Problem, counted, describe

#: Names of columns, in lower case. More labels of a photo are in ``label_2``, ``label2`` and so on.
FILE_NAMES = ("file", "filename", "file_name", "filepath", "file_path", "path", "image", "photo", "picture")
LABEL_NAMES = ("label", "labels", "class", "class_name", "category")
PART_NAMES = ("part", "split", "subset")
EXPECTED = "a column of files (file, path, image) and one of labels (label, class), or of 1 and 0 for each class"

DELIMITERS = ",;\t|"
#: Far above a table of millions of photos.
MAX_TABLE = 500_000_000

#: Cells of a column for one class.
YES, NO = ("1", "1.0", "true", "yes"), ("0", "0.0", "false", "no", "")

SINGLE, MULTI, REGRESSION = "single_label_classification", "multi_label_classification", "regression"


class Table(NamedTuple):
    """The rows below the names, and which columns are which; `part` is None without such a column."""

    name: str
    rows: list[list[str]]
    first_row: int
    columns: list[str]
    file: int
    labels: list[int]
    part: int | None
    #: Whether the columns of labels are called so, or by the classes or numbers themselves.
    has_names_of_classes: bool


def list_table(path: str, problem_type: str | None = None) -> PhotoList:
    """Return the photos of a CSV file.

    Columns that are called labels hold names of classes, several in a row those of one photo; others are then left out.
    Without such columns, each is a class if its cells are 1 and 0, and a number to be predicted if they are other
    numbers; a single one of other text holds names. `problem_type` says it where this guess is wrong.

    Raises
    ------
    InputError
        If it cannot be read, has no such columns, or no photo of it can be used.
    """
    table = _read_table(path)
    photos = PhotoList()
    table, photos.problem_type = _kind_of(table, problem_type)
    if not table.has_names_of_classes:
        photos.classes = tuple(table.columns[column] for column in table.labels)
        if len(set(photos.classes)) < len(photos.classes):
            raise InputError(f"{table.name}: expected a name of its own for each column, got one twice")
    _add_rows(photos, table, os.path.dirname(path))
    if not photos.entries:
        raise InputError(
            f"{table.name}: expected photos that are there and have a label, got none in "
            f"{counted(len(table.rows), 'row', 'rows')}; the first: {describe(photos.problems[0])}"
        )
    used = {table.file, table.part, *table.labels}
    left_out = [column for place, column in enumerate(table.columns) if column and place not in used]
    photos.problems += [Problem("column", column) for column in left_out]
    return photos


def _add_rows(photos: PhotoList, table: Table, folder: str) -> None:
    """Add the photos of the rows that can be used, and say why the others cannot."""
    found: dict[str, Entry] = {}
    differing = set()
    for number, row in enumerate(table.rows, table.first_row):
        file = _path(folder, row[table.file])
        labels = _labels(table, row, photos.problem_type)
        if is_url(file):
            photos.problems.append(Problem("url", file))
        elif not os.path.isfile(file):
            photos.problems.append(Problem("missing", file))
        elif labels is None:
            photos.problems.append(Problem("no_label", file))
        elif file not in found:
            found[file] = Entry(file, _part(table, row, number), labels)
        elif found[file].labels == labels:
            photos.problems.append(Problem("twice", file))
        elif file not in differing:
            differing.add(file)
            photos.problems.append(Problem("rows_differ", file))
    photos.entries += [entry for file, entry in found.items() if file not in differing]


def _read_table(path: str) -> Table:
    """Read the rows of a CSV file, and say which columns are which."""
    name = escape(path)
    rows = _read_rows(path, name)
    if not rows:
        raise InputError(f"{name}: expected a table with a row for each photo, got an empty file")
    width = max(map(len, rows))
    names = [cell.lower() for cell in rows[0]]
    if PurePath(names[0]).suffix in SUFFIXES and not set(names) & set(FILE_NAMES):
        columns = ["file", *(f"label_{number}" for number in range(1, width))]
        first_row = 1
    else:
        columns = [*rows.pop(0), *(f"{names[-1]}_{number}" for number in range(2, 2 + width - len(names)))]
        first_row = 2
    names = [column.lower() for column in columns]
    files = [place for place, column in enumerate(names) if column in FILE_NAMES]
    parts = [place for place, column in enumerate(names) if column in PART_NAMES]
    labels = [place for place, column in enumerate(names) if column.rstrip("_0123456789") in LABEL_NAMES]
    others = [place for place in range(width) if place not in (*files[:1], *parts)]
    if not files or not (labels or others):
        raise InputError(f"{name}: expected {EXPECTED}; got the columns {listed(list(map(quoted, columns)), 8)}")
    if not rows:
        raise InputError(f"{name}: expected a row for each photo below the names of the columns, got none")
    rows = [[*row, *[""] * (width - len(row))] for row in rows]
    part = parts[0] if parts else None
    return Table(name, rows, first_row, columns, files[0], labels or others, part, bool(labels))


def _read_rows(path: str, name: str) -> list[list[str]]:
    """Return the cells of a CSV file without the spaces around them; rows without any are left out."""
    try:
        if os.path.getsize(path) > MAX_TABLE:
            raise InputError(f"{name}: larger than {MAX_TABLE} bytes, expected a table of photos")
        with open(path, "rb") as file:
            text = _decoded(file.read(), name)
    except OSError as error:
        raise InputError(f"{name}: cannot be read ({error.strerror}); check the path") from error
    first = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = max(DELIMITERS, key=first.count)
    try:
        rows = [
            [cell.strip() for cell in row] for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        ]
    except csv.Error as error:
        raise InputError(f"{name}: is not the CSV it should be ({error}); write it again") from error
    return [row for row in rows if any(row)]


def _decoded(content: bytes, name: str) -> str:
    """Return the text of a table: UTF-8 or UTF-16 as its first bytes say, or what programs of Windows wrote."""
    utf16 = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    for encoding in ("utf-16",) if utf16 else ("utf-8-sig", "cp1252"):
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text
        break
    raise InputError(f"{name}: expected a table in text, got other bytes; save it as CSV in UTF-8")


def _kind_of(table: Table, wanted: str | None) -> tuple[Table, str]:
    """Return the problem type of a table, and the table with whether its cells are names of classes."""
    if table.has_names_of_classes and wanted != REGRESSION:
        several = any(sum(bool(row[place]) for place in table.labels) > 1 for row in table.rows)
        if several and wanted == SINGLE:
            raise InputError(f"{table.name}: expected one label for each photo, got several in a row")
        return table, wanted or (MULTI if several else SINGLE)
    cells = {row[place].lower() for row in table.rows for place in table.labels}
    words = sorted(cell for cell in cells if cell and _number(cell) is None)
    are_names = len(table.labels) == 1 and (wanted == SINGLE or len(words) == len(cells - {""}))
    fits = {MULTI: cells <= {*YES, *NO}, REGRESSION: not words, SINGLE: are_names}
    kind = next((kind for kind, does in fits.items() if does and wanted in (None, kind)), None)
    if kind is None:
        odd = (words or sorted(cells))[0]
        raise InputError(
            f"{table.name}: expected {EXPECTED}; got columns with other text, such as {quoted(odd)}: call the column "
            "of labels label, and more of them label_2 and so on"
        )
    return table._replace(has_names_of_classes=kind == SINGLE), kind


def _labels(table: Table, row: list[str], problem_type: str) -> tuple[str, ...] | tuple[float, ...] | None:
    """Return the names of the classes of a photo, or its numbers; None if it has none, or not all of them."""
    cells = [row[place] for place in table.labels]
    if problem_type == REGRESSION:
        values = [_number(cell) for cell in cells]
        return None if None in values else tuple(value for value in values if value is not None)
    if table.has_names_of_classes:
        return tuple(dict.fromkeys(filter(None, cells))) or None
    return tuple(table.columns[place] for place in table.labels if row[place].lower() in YES)


def _part(table: Table, row: list[str], number: int) -> str:
    """Return the part of a photo."""
    if table.part is None:
        return ALL
    part = PARTS.get(row[table.part].lower())
    if part is None:
        raise InputError(
            f"{table.name}: row {number}: expected train, validation or test in the column "
            f"{quoted(table.columns[table.part])}, got {quoted(row[table.part])}"
        )
    return part


def _number(cell: str) -> float | None:
    """Return a finite number, also one with a decimal comma; None if it is none."""
    try:
        value = float(cell.replace(",", "."))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _path(folder: str, file: str) -> str:
    """Return where a file of a table is; one that was written on Windows may have backslashes."""
    if is_url(file):
        return file
    path = os.path.join(folder, file)
    return path if os.path.lexists(path) else os.path.join(folder, file.replace("\\", "/"))
