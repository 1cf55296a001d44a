"""The text of ``npconv info``, a function for each part."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from npconv.cli.layer_text import layer_lines
from npconv.cli.output import escape, table
from npconv.messages import listed

if TYPE_CHECKING:
    from npconv.cli.facts import Facts, Problem, Weights
    from npconv.images import ConvNextImageProcessor
    from npconv.models.summary import LayerRow


LAYERS_NOTE = "MACs are multiply-adds: of convolutions, linear layers and the products of attention."

#: Kinds of layers of which an epsilon or an activation is shown, site by site.
SITES = ("layer norm", "batch norm", "response norm", "activation")

SHOWN_LABELS = 10
LONGEST_VALUE = 60

#: A space at which a line is not broken.
UNBROKEN = "\u00a0"


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
    from npconv.cli.facts import config_fields, default_fields

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
        if step.startswith("resize"):
            given["keeps_aspect"] = given != of_another
        found += STEP_WORDS[step](**given)
    return found


def resized(*, height: int, width: int, resample: int, keeps_aspect: bool) -> list[str]:
    """Return the words for resizing the first of the photos to a size."""
    from npconv.images.transforms import resample_filter

    how = f"resize the shorter edge to {height}, keeping" if keeps_aspect else f"warp to {height} x {width}, whatever"
    return [f"{how} the aspect ({resample_filter(resample).name.lower()})"]


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
    "center_crop": lambda height, width: [f"crop the middle {dimensions((height, width))}"],
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
