"""The text of ``npconv info``, a function for each part; the table of layers, with names as a tree, comes last."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from npconv.cli.output import table
from npconv.messages import escape, listed

if TYPE_CHECKING:
    from npconv.cli.facts import Facts, Problem, Weights
    from npconv.images import ConvNextImageProcessor
    from npconv.models.summary import LayerRow


LAYERS_NOTE = "MACs are multiply-adds: of convolutions, linear layers and the products of attention."

#: Kinds of layers of which an epsilon or an activation is shown, site by site.
SITES = ("layer norm", "RMS norm", "simple norm", "batch norm", "response norm", "activation")

SHOWN_LABELS = 10
LONGEST_VALUE = 60

#: A space at which a line is not broken.
UNBROKEN = "\u00a0"

HEADER = ("name", "layer", "output", "parameters", "MACs")

#: The columns of numbers.
RIGHT = (2, 3, 4)

_BLOCK = re.compile(r"(.+\.layers)\.(\d+)\.(.+)")


def render(facts: Facts, *, all_blocks: bool, width: int) -> str:
    """Return everything that is known about a model as text of `width` columns, as far as names allow."""
    parts = [
        overview(facts, width),
        ["Configuration", *configuration(facts, width)],
        ["Preprocessing", *preprocessing(facts, width)],
        ["eps and activation at each site", *sites(facts.layers)],
        [
            f"Layers, for a picture of {dimensions(facts.size)}",
            *paragraph("", LAYERS_NOTE + ("" if all_blocks else " Option --all lists every block."), width),
            "",
            *layer_lines(facts.layers, all_blocks=all_blocks, width=width),
        ],
    ]
    return "\n\n".join("\n".join(lines) for lines in parts) + "\n"


def overview(facts: Facts, width: int) -> list[str]:
    """Return what one wants to know first."""
    family, labels = facts.family, [escape(label) for label in facts.labels]
    parameters = sum(row.parameters for row in facts.layers)
    multiply_adds = sum(row.multiply_adds for row in facts.layers)
    classes = f"{len(labels)}: {listed(labels, SHOWN_LABELS)}" if labels else "0"
    entries = [
        ("family", f"{family.title}, {family.folder.DESCRIPTION}"),
        ("paper", family.folder.PAPER),
        ("found at", escape(str(facts.path.absolute()))),
        ("saved as", ", ".join(map(value_text, facts.config.architectures or ()))),
        ("weights", weights_text(facts.weights)),
        ("parameters", f"{parameters:,}"),
        ("multiply-adds", f"{multiply_adds:,} for a picture of {dimensions(facts.size)}"),
        ("classes", classes if "image_classification" in family.tasks else ""),
    ]
    lines = [escape(facts.name), ""]
    for name, text in entries:
        if text:
            lines += paragraph(f"{name:<15}", text, width)
    return lines


def problem_text(problem: Problem) -> str:
    """Return why there is nothing to show."""
    return f"{'unusable' if problem.broken else 'none'}: {escape(problem.reason)}"


def weights_text(weights: Weights | Problem) -> str:
    """Return what the weight files are, or why they are not shown."""
    from npconv.cli.facts import Problem

    if isinstance(weights, Problem):
        return problem_text(weights)
    names = weights.files[0] if len(weights.files) == 1 else f"{len(weights.files)} files, {weights.files[0]} and so on"
    text = f"{escape(names)}: {file_size(weights.bytes)}, {' and '.join(map(escape, weights.dtypes)) or 'no tensors'}"
    for what, tensors in (("missing", weights.missing), ("left over", weights.unexpected)):
        if tensors:
            text += f"; {what}: {escape(listed(tensors, 2))}"
    return text


def configuration(facts: Facts, width: int) -> list[str]:
    """Return the fields of the configuration, those first that differ from the family's defaults."""
    from npconv.models.fields import config_fields, default_fields

    other, usual, unknown = config_fields(facts.config)
    defaults = default_fields(facts.config)
    lines = []
    if other:
        lines.append(f"  other than the defaults of {type(facts.config).__name__}")
        rows = [(name, value_text(value), f"default {value_text(defaults[name])}") for name, value in other.items()]
        lines += table(rows, indent=4)
    for title, fields in (("as the defaults", usual), ("kept, without effect here", unknown)):
        if fields:
            text = ", ".join(
                f"{escape(name)} {value_text(value)}".replace(" ", UNBROKEN) for name, value in fields.items()
            )
            lines += [f"  {title}", *paragraph("  ", text, width)]
    return lines


def preprocessing(facts: Facts, width: int) -> list[str]:
    """Return the steps from a photo to the model's input, in plain words."""
    from npconv.cli.facts import Problem

    if isinstance(facts.processor, Problem):
        return paragraph("", problem_text(facts.processor), width)
    return [f"  {number}. {step}" for number, step in enumerate(steps(facts.processor), 1)]


#: Heights and widths of two photos. What is done to both alike does not depend on the aspect.
PHOTOS = ((3000, 4000), (4000, 3000))


def steps(processor: ConvNextImageProcessor) -> list[str]:
    """Return what an image processor does, a step a line."""
    channels = 1 if isinstance(processor.image_mean, float) else len(processor.image_mean)
    is_grey = channels == 1 and not processor.do_convert_rgb and not isinstance(processor.image_mean, float)
    found = [f"turn upright as EXIF says, convert to {'grey' if is_grey else 'RGB'} of 8 bits"]
    for (_, step, given), (_, _, of_another) in zip(*(processor.steps(*photo) for photo in PHOTOS), strict=True):
        if STEP_WORDS[step] is resized:
            keeps = [given[side] for side in ("height", "width")] != [of_another[side] for side in ("height", "width")]
            given |= {
                "aspect": aspect_words(processor, given["height"]) if keeps else "",
                "order": processor.resize_order,
            }
        found += STEP_WORDS[step](**given)
    return found


def aspect_words(processor: ConvNextImageProcessor, shorter: int) -> str:
    """Return the words for resizing the first of the photos and keeping its aspect."""
    settings = processor.settings()
    target = settings.target or (0, 0)
    if settings.crop_mode is None or (settings.crop_mode == "center" and target[0] == target[1]):
        return f"the shorter edge to {shorter}"
    how = "cover" if settings.crop_mode == "center" else "fit into"
    return f"to {how} {dimensions((int(target[0] / settings.crop_pct), int(target[1] / settings.crop_pct)))}"


def resized(*, height: int, width: int, resample: int, aspect: str, order: str | None) -> list[str]:
    """Return the words for resizing the first of the photos to a size."""
    from npconv.images.transforms import resample_filter

    how = f"resize {aspect}, keeping" if aspect else f"warp to {height} x {width}, whatever"
    passes = f", passes in the order {order}" if order else ""
    return [f"{how} the aspect ({resample_filter(resample).name.lower()}{passes})"]


def cropped(*, height: int, width: int, rounding: str = "floor", fill: Any = None) -> list[str]:
    """Return the words for cutting out the middle."""
    half = "" if rounding == "floor" else ", half a pixel rounded to even"
    border = "" if fill is None else f", a border of {numbers(fill)} around a smaller picture"
    return [f"crop the middle {dimensions((height, width))}{half}{border}"]


def rescaled(*, factor: float) -> list[str]:
    """Return the words for multiplying."""
    return ["divide by 255" if abs(factor * 255 - 1) < 1e-9 else f"multiply by {factor:g}"]


def normalized(*, mean: Any, std: Any) -> list[str]:
    """Return the words for normalizing."""
    return [f"subtract the mean {numbers(mean)}", f"divide by the standard deviation {numbers(std)}"]


#: By the names of ``npconv.images.settings.STEPS``.
STEP_WORDS: dict[str, Callable[..., list[str]]] = {
    "resize": resized,
    "resize_float": resized,
    "center_crop": cropped,
    "rescale": rescaled,
    "normalize": normalized,
}


def sites(layers: list[LayerRow]) -> list[str]:
    """Return the eps and activation of each place in the model; ``*`` and ``**`` stand for what varies in its name."""
    found: dict[tuple[str, str, str], None] = {}
    for row in layers:
        if row.kind in SITES:
            site = re.sub(r"\.(stages|layers)\.\d+", r".\1.*", row.name)
            site = re.sub(r"\.(attention|embedding)\..*\.(\w+)$", r".\1.**.\2", site)
            found[(row.kind, row.setting, site)] = None
    return table(list(found), indent=2)


def paragraph(head: str, text: str, width: int) -> list[str]:
    """Return `text` as lines of `width` columns, indented by two and hanging under where it began after `head`."""
    indent = 2 + len(head)
    wrapped = textwrap.wrap(text, max(width - indent, 20), break_long_words=False, break_on_hyphens=False)
    lines = [" " * indent + line.replace(UNBROKEN, " ") for line in wrapped or [""]]
    return [f"  {head}{lines[0][indent:]}", *lines[1:]]


def value_text(value: Any) -> str:
    """Return the value of a field, short."""
    text = escape(value if isinstance(value, str) else str(value))
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 3]}..."


def dimensions(size: tuple[int, int]) -> str:
    """Return height and width in words."""
    return f"{size[0]} x {size[1]}"


def numbers(values: float | list[float] | tuple[float, ...]) -> str:
    """Return one number for all channels, or those of each."""
    return f"{values:g}" if isinstance(values, float) else ", ".join(f"{value:g}" for value in values)


def file_size(size: int) -> str:
    """Return a number of bytes in the unit that fits."""
    for unit, bytes_each in (("GB", 10**9), ("MB", 10**6), ("KB", 10**3)):
        if size >= bytes_each:
            return f"{size / bytes_each:.3g} {unit}"
    return f"{size} bytes"


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
