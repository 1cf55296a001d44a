"""The table of layers in ``npconv info``: names as a tree, blocks that are all alike in one line."""

from __future__ import annotations

import re
from itertools import groupby
from typing import TYPE_CHECKING

from npconv.cli.output import table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from npconv.models.summary import LayerRow

HEADER = ("name", "layer", "output", "parameters", "MACs")

#: The columns of numbers.
RIGHT = (2, 3, 4)

_BLOCK = re.compile(r"(.+\.layers)\.(\d+)\.(.+)")


def layer_lines(layers: list[LayerRow], *, all_blocks: bool, width: int) -> list[str]:
    """Return the table of layers; in a narrow terminal, of `width`, the columns move closer together.

    Blocks of a stage that are like the one before are counted in one line, unless `all_blocks` are wanted.
    """
    rows: list[Sequence[str]] = [HEADER]
    before: list[tuple[str, LayerRow]] = []
    alike: list[tuple[str, list[LayerRow]]] = []
    for group, members in groupby(layers, key=lambda row: _group_of(row)):
        inner = [(row.name.removeprefix(f"{group}."), row) for row in members]
        if not all_blocks and group and _BLOCK.match(f"{group}.x") and _content(inner) == _content(before):
            alike.append((group, [row for _, row in inner]))
            continue
        rows += _alike_row(alike)
        alike, before = [], inner
        rows += ([(group,)] if group else []) + _tree_rows(inner, depth=1 if group else 0)
    rows += _alike_row(alike)
    rows += _total_row(layers)
    layouts = [table(rows, right=RIGHT, gap=gap, indent=indent) for gap, indent in ((2, 2), (2, 0), (1, 0))]
    return next((lines for lines in layouts if max(map(len, lines)) <= width), layouts[-1])


def short_number(number: int) -> str:
    """Return a number with three digits and a unit; nothing for zero."""
    for unit, size in (("G", 10**9), ("M", 10**6), ("K", 10**3)):
        if number >= 0.9995 * size:
            scaled = number / size
            return f"{scaled:.{2 if scaled < 9.995 else 1 if scaled < 99.95 else 0}f}{unit}"
    return str(number) if number else ""


def _group_of(row: LayerRow) -> str:
    """Return under which heading a layer stands: its block, or its parent."""
    block = _BLOCK.match(row.name)
    return f"{block[1]}.{block[2]}" if block else row.name.rpartition(".")[0]


def _content(inner: list[tuple[str, LayerRow]]) -> list[tuple[object, ...]]:
    """Return what makes two blocks alike: all but where they stand."""
    return [(name, *row[1:]) for name, row in inner]


def _tree_rows(inner: list[tuple[str, LayerRow]], depth: int) -> list[Sequence[str]]:
    """Return layers as rows, those with a common beginning of their names under a heading of it."""
    rows: list[Sequence[str]] = []
    for _, group in groupby(inner, key=lambda item: item[0].partition(".")[0]):
        members = list(group)
        if len(members) == 1:
            rows.append(_row(members[0][0], members[0][1], depth))
            continue
        parts = [name.split(".") for name, _ in members]
        common = 1
        while all(len(part) > common + 1 and part[common] == parts[0][common] for part in parts):
            common += 1
        rows.append(("  " * depth + ".".join(parts[0][:common]),))
        below = [(".".join(part[common:]), row) for part, (_, row) in zip(parts, members, strict=True)]
        rows += _tree_rows(below, depth + 1)
    return rows


def _row(name: str, row: LayerRow, depth: int) -> Sequence[str]:
    """Return the row of one layer; one that bears the name of the heading above it is called by its kind."""
    kind = "" if row.kind == "activation" or not name else row.kind
    layer = f"{kind} {row.setting.replace('padding', 'pad')}".strip()
    shape = "x".join(map(str, row.output_shape))
    parameters = f"{row.parameters:,}" if row.parameters else ""
    return "  " * depth + (name or f"({row.kind})"), layer, shape, parameters, short_number(row.multiply_adds)


def _alike_row(alike: list[tuple[str, list[LayerRow]]]) -> list[Sequence[str]]:
    """Return the row that counts blocks like the one before, if there are any."""
    if not alike:
        return []
    numbers = [group.rpartition(".")[2] for group, _ in alike]
    name = numbers[0] if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"
    rows = [row for _, block in alike for row in block]
    parameters = sum(row.parameters for row in rows)
    multiply_adds = short_number(sum(row.multiply_adds for row in rows))
    times = "" if len(numbers) == 1 else f", {len(numbers)} times"
    return [(f"layers.{name}", f"the same{times}", "", f"{parameters:,}", multiply_adds)]


def _total_row(layers: list[LayerRow]) -> list[Sequence[str]]:
    """Return the row of the sums."""
    parameters = sum(row.parameters for row in layers)
    return [("total", "", "", f"{parameters:,}", short_number(sum(row.multiply_adds for row in layers)))]
