"""The page of ``npconv look``: a :class:`npconv.pictures.look.Look` as HTML."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

from npconv.html import Markup, element, image, joined
from npconv.pictures.class_token import Stop
from npconv.pictures.html import page
from npconv.pictures.look import Look, Reason, StepView, functions_of
from npconv.pictures.overlay import PHOTO_SHARE
from npconv.pictures.picture import Picture
from npconv.pictures.sheets import Sheets, bar_table
from npconv.pictures.views import Attention, Shown
from npconv.plan.step import Step

#: Scores that are listed.
MOST_SCORES = 5

INTRODUCTION = (
    "From the photo to the answer, in the order of computation. Maps show the channels that vary most, the strongest "
    "first, each on a scale of its own: dark to yellow from 0 upwards, or where values are negative blue below 0, "
    "white at 0, orange above. Below each stands the number of its channel; choose others above the maps."
)


def to_html(look: Look) -> str:
    """Return the page."""
    sections = [
        ("photo", "The photo", _prepared(look)),
        ("answer", "The answer", _answer(look.scores)) if look.scores else None,
        ("reasons", "What the answer rests on", _reasons(look.reasons)) if look.reasons else None,
        ("token", "The class token", _class_token(look.class_token)) if look.class_token else None,
        ("steps", "Step by step", _steps(look)),
        ("sources", "The functions", _sources(look.sources)),
    ]
    shown = [section for section in sections if section is not None]
    links = [element("li", element("a", title, href=f"#{name}")) for name, title, _ in shown]
    body = [element("h1", look.title), element("p", INTRODUCTION), element("nav", element("ul", *links))]
    body.append(
        element("noscript", element("p", "The maps are drawn by the script of this page, which is not run here."))
    )
    body += [element("section", element("h2", title), content, id=name) for name, title, content in shown]
    return page(look.title, element("main", *body))


def _prepared(look: Look) -> Markup:
    """Show the photo at each step of preprocessing, and as the other sections take it."""
    figures = [_figure(picture, name, says, "large") for name, (picture, says) in look.prepared.items()]
    return joined(_row(figures), image(look.photo.png(), "", id="seen", hidden=True))


def _answer(scores: Mapping[str, Mapping[str, float]]) -> Markup:
    """Show the best scores, and what they are when the photo is changed."""
    first = next(iter(scores.values()))
    best = sorted(first, key=lambda label: -first[label])[:MOST_SCORES]
    cells = ([_meter(found[label]) for found in scores.values()] for label in best)
    return _table(["class", *scores], {label: row for label, row in zip(best, cells, strict=True)})


def _meter(score: float) -> Markup:
    """Show a score as a bar and a number."""
    return joined(element("meter", value=f"{score:.4f}", min=0, max=1, aria_hidden="true"), f" {score:.3f}")


def _reasons(reasons: Sequence[Reason]) -> Markup:
    """Show what the score of a class rests on, for a class and a stage to choose."""
    classes = {str(n): f"{one.label} ({one.score:.3f})" for n, one in enumerate(reasons)}
    stages = {str(n): f"stage {n + 1}" for n in range(len(reasons[0].grad_cam))}
    pick = [_select("Class", "reason", classes), _select("Grad-CAM of", "stage", stages, chosen=len(stages) - 1)]
    figures = [
        element(
            "div",
            _over(one.covering, "covering", f"where covering lowers the score of {one.label}"),
            _over(one.saliency, "saliency", f"the pixels that change the logit of {one.label}"),
            *(
                element(
                    "div",
                    _over(picture, f"Grad-CAM, stage {stage + 1}", f"where the map speaks for {one.label}"),
                    data_of="stage",
                    data_value=str(stage),
                )
                for stage, picture in enumerate(one.grad_cam)
            ),
            class_="row",
            data_of="reason",
            data_value=str(n),
        )
        for n, one in enumerate(reasons)
    ]
    says = (
        "Covering: by how much the score falls where the photo is covered. Saliency: how much a change of a pixel "
        "changes the logit. Grad-CAM: where in a stage's map the class is seen. Yellow is most, dark is nothing."
    )
    return joined(element("p", *pick), *figures, element("p", says, class_="soft"))


def _class_token(stops: Iterable[Stop]) -> Markup:
    """Show the class token from its first value to what the classifier takes."""
    says = (
        "The answer is made of this token alone. In each block it looks at positions of the map (the photo below: "
        "yellow is most, the mean over all heads), adds what it found there, and then what a perceptron makes of it. "
        "The scores are those that the rest of the model gives for the token as it is at that step."
    )
    items = [
        element(
            "li",
            element("code", stop.name),
            element("p", f"length {stop.length:.3g}", class_="soft"),
            _over(stop.attention, "looks at", "where the class token looks", "small") if stop.attention else None,
            element("p", ", ".join(f"{label} {score:.3f}" for label, score in stop.scores.items())),
        )
        for stop in stops
    ]
    return joined(element("p", says), element("ol", *items, class_="row path"))


def _steps(look: Look) -> Markup:
    """Show every step of the model, those of a stage together, below the map that the stage ends with."""
    parts: list[Markup] = []
    sheets = Sheets()
    for stage, views in groupby(look.steps, key=lambda view: view.stage):
        several = list(views)
        spent = 1e3 * sum(view.seconds for view in several)
        title = f"Stage {stage + 1}" if stage is not None else "Before the stages" if not parts else "After the stages"
        says = (
            f"{len(several)} steps, {sum(view.parameters for view in several):,} parameters, "
            f"{sum(view.multiply_adds for view in several):,} multiply-adds, {spent:.0f} ms"
        )
        parts.append(element("h3", title, " ", element("small", says)))
        parts += [_stage(view, sheets) for view in several if view.ends_stage and view.after.sheet]
        parts += [_step(view, sheets) for view in several]
    return joined(*parts)


def _stage(view: StepView, sheets: Sheets) -> Markup:
    """Show the map of a stage as a contact sheet of all its channels."""
    return joined(
        element("p", "The map that it ends with, ", element("code", view.step.name), f": {_numbers(view.after)}"),
        sheets.chooser(map_of_the_stage=view.after.sheet),
    )


def _numbers(shown: Shown) -> str:
    """Say what an array is in a few numbers."""
    one = shown.summary
    assert one is not None
    words = f"mean {one.mean:.3g}, deviation {one.deviation:.3g}, from {one.lowest:.3g} to {one.highest:.3g}"
    return f"{words}, dead channels: {one.dead}" if shown.sheet else words


def _step(view: StepView, sheets: Sheets) -> Markup:
    """Show a step: closed its name and shape, open its pictures, numbers and parameters."""
    step, shape = view.step, "x".join(map(str, view.shape[1:]))
    summary = element(
        "summary", element("code", step.name), element("span", f"{step.operation}, {shape}", class_="soft")
    )
    facts: dict[str, list[str]] = {
        "made by": [element("a", step.operation, href=f"#source-{step.operation}")],
        "which is": [_says(functions_of(step)[-1])],
        "formula": [element("code", found)] if (found := formula_of(step)) else [],
        "of": [", ".join(step.inputs)],
        "with": [", ".join(f"{name}={value}" for name, value in step.attributes.items()) or "no settings"],
        "shape": [" x ".join(map(str, view.shape)) + f" ({step.layout})"],
        "parameters": [f"{view.parameters:,}"],
        "multiply-adds": [f"{view.multiply_adds:,}"],
        "time": [f"{1e3 * view.seconds:.2f} ms"],
        "values": [_numbers(view.after)] if view.after.summary else [],
    }
    table = _table((), {name: cells for name, cells in facts.items() if cells})
    return element("details", summary, _pictures(view, sheets), _special(view), table)


def _pictures(view: StepView, sheets: Sheets) -> Markup:
    """Show what a step took and what it made, beside each other."""
    before, after = view.before, view.after
    if before.sheet and after.sheet and before.sheet.channels != after.sheet.channels:
        maps = [sheets.chooser(before=before.sheet), sheets.chooser(after=after.sheet)]
    elif before.sheet or after.sheet:
        maps = [sheets.chooser(before=before.sheet, kernel=view.kernels, after=after.sheet)]
    else:
        maps = []
    vectors = [_vector(shown, when) for when, shown in (("before", before), ("after", after)) if shown.values]
    return _row([*maps, *vectors])


def _vector(shown: Shown, when: str) -> Markup:
    """Show a vector: all its values as a picture, and the largest."""
    assert shown.values is not None
    assert shown.bars is not None
    return element(
        "div",
        _figure(shown.values, when, shown.values.caption, "wide"),
        bar_table(shown.bars, f"The largest, {when}"),
        class_="part",
    )


def _special(view: StepView) -> Markup:
    """Show what only some operations have: GRN's strengths, numbers for each channel, attention."""
    parts = [
        element(
            "div",
            _figure(picture, name, picture.caption, "wide"),
            bar_table(found, f"{name}: the largest"),
            class_="part",
        )
        for name, (picture, found) in view.vectors.items()
    ]
    if view.strengths is not None:
        parts.insert(
            0,
            element(
                "div",
                bar_table(view.strengths, "Strength of a channel over all positions, before and after"),
                class_="part",
            ),
        )
    return joined(_row(parts), _attention(view.attention) if view.attention else None)


def _says(function: object) -> str:
    """Return the first sentence of a function's docstring as plain text."""
    first = (inspect.getdoc(function) or "").partition("\n\n")[0].replace("\n", " ")
    return re.sub(r":\w+:(?=`)", "", first).replace("`", "")


def formula_of(step: Step) -> str:
    """Return the formula of a step as the docstring of its function gives it; nothing if it has none.

    That is the first thing in double backquotes that is more than a word.
    """
    described = (inspect.getdoc(functions_of(step)[-1]) or "").partition("\nParameters\n")[0]
    return next((code for code in re.findall(r"``([^`]+)``", described) if " " in code.strip()), "")


def _attention(attention: Attention) -> Markup:
    """Show what the place of the photo under the pointer looks at."""
    a = attention
    numbers = ",".join(map(str, (a.rows, a.columns, a.height, a.width, a.tokens)))
    heads = {"0": f"mean of {a.heads} heads"} | {str(n + 1): f"head {n + 1}" for n in range(a.heads)}
    pick = [
        element("label", "Of: ", element("select", *_options(heads))) if a.heads > 1 else None,
        element("button", "class token", type="button") if a.tokens else None,
        element("output"),
    ]
    place = element(
        "canvas", tabindex=0, role="application", aria_label="The photo: choose a place with the arrow keys"
    )
    return element(
        "div",
        element(
            "p", "What a place looks at (yellow: most): point at the photo, or move with the arrow keys.", class_="soft"
        ),
        element("p", *pick),
        _row([place, element("canvas", role="img", aria_label="The attention map of that place")]),
        image(a.atlas.png(), "", hidden=True),
        data_atlas=numbers,
    )


def _sources(sources: Mapping[str, str]) -> Markup:
    """Show the source of each function that made a step."""
    return joined(
        *(
            element(
                "details",
                element("summary", element("code", name)),
                element("pre", source, tabindex=0),
                id=f"source-{name}",
            )
            for name, source in sources.items()
        )
    )


def _select(says: str, shows: str, options: Mapping[str, str], chosen: int = 0) -> Markup:
    """Return a choice that shows the elements of one value."""
    return element("label", f"{says}: ", element("select", *_options(options, chosen), data_shows=shows), " ")


def _options(options: Mapping[str, str], chosen: int = 0) -> list[Markup]:
    """Return what can be chosen."""
    return [
        element("option", says, value=value, selected=place == chosen)
        for place, (value, says) in enumerate(options.items())
    ]


def _table(head: Sequence[str], rows: Mapping[str, Sequence[str]]) -> Markup:
    """Return a table whose rows begin with their names."""
    first = element("tr", *(element("th", name, scope="col") for name in head)) if head else None
    lines = [
        element("tr", element("th", name, scope="row"), *(element("td", cell) for cell in cells))
        for name, cells in rows.items()
    ]
    return element("div", element("table", first, *lines), class_="scrolls", tabindex=0 if head else None)


def _row(parts: Iterable[Markup]) -> Markup:
    """Put parts side by side, as many as fit."""
    return element("div", *found, class_="row") if (found := list(parts)) else Markup()


def _over(colours: Picture, name: str, says: str, size: str = "large") -> Markup:
    """Show colours over the photo, with a name below."""
    return element(
        "figure",
        element("canvas", role="img", aria_label=f"{name}: {says}", class_=size),
        image(colours.png(), "", hidden=True),
        element("figcaption", name),
        data_over=f"{1 - PHOTO_SHARE:g}",
    )


def _figure(picture: Picture, name: str, says: str, size: str) -> Markup:
    """Show a picture with its name below."""
    caption = element("figcaption", name, element("br") if says else None, element("small", says) if says else None)
    return element("figure", image(picture.png(), f"{name} {says}".strip(), class_=size), caption)
