"""The page of ``npconv look``: a :class:`npconv.pictures.look.Look` as HTML."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping
from itertools import groupby

from npconv.pictures.html import Markup, element, image, joined, page
from npconv.pictures.look import Look, Reason, StepView
from npconv.pictures.picture import Picture
from npconv.pictures.views import Attention, Shown
from npconv.plan.operations import OPERATIONS

#: Scores that are listed.
MOST_SCORES = 5

INTRODUCTION = (
    "From the photo to the answer, in the order of computation. Maps show the channels that vary most, the strongest "
    "first, each on a scale of its own: dark to yellow from 0 upwards, or where values are negative blue below 0, "
    "white at 0, orange above."
)


def to_html(look: Look) -> str:
    """Return the page."""
    sections = [
        ("photo", "The photo", _prepared(look.prepared)),
        ("answer", "The answer", _answer(look.scores)) if look.scores else None,
        ("reasons", "What the answer rests on", _reasons(look.reasons)) if look.reasons else None,
        ("steps", "Step by step", _steps(look)),
        ("sources", "The functions", _sources(look.sources)),
    ]
    shown = [section for section in sections if section is not None]
    links = [element("li", element("a", title, href=f"#{name}")) for name, title, _ in shown]
    body = [element("h1", look.title), element("p", INTRODUCTION), element("nav", element("ul", *links))]
    body += [element("section", element("h2", title), content, id=name) for name, title, content in shown]
    return page(look.title, element("main", *body))


def _prepared(prepared: Mapping[str, tuple[Picture, str]]) -> Markup:
    """Show the photo at each step of preprocessing."""
    return _row(_figure(picture, name, says, "large") for name, (picture, says) in prepared.items())


def _answer(scores: Mapping[str, Mapping[str, float]]) -> Markup:
    """Show the best scores, and what they are when the photo is changed."""
    first = next(iter(scores.values()))
    best = sorted(first, key=lambda label: -first[label])[:MOST_SCORES]
    head = element("tr", element("th", "class", scope="col"), *(element("th", how, scope="col") for how in scores))
    rows = [
        element(
            "tr",
            element("th", label, scope="row"),
            *(
                element("td", element("meter", value=f"{found[label]:.4f}", min=0, max=1), f" {found[label]:.3f}")
                for found in scores.values()
            ),
        )
        for label in best
    ]
    return element("table", head, *rows)


def _reasons(reasons: Iterable[Reason]) -> Markup:
    """Show what the score of a class rests on, for a class to choose."""
    reasons = list(reasons)
    options = [element("option", f"{one.label} ({one.score:.3f})", value=str(n)) for n, one in enumerate(reasons)]
    select = element("label", "Class: ", element("select", *options, data_shows="reason"))
    figures = [
        element(
            "div",
            _row(_figure(p, how, "", "small") for how, p in one.pictures.items()),
            data_of="reason",
            data_value=str(n),
        )
        for n, one in enumerate(reasons)
    ]
    says = (
        "Covering: by how much the score falls where the photo is covered. Saliency: how much a change of a pixel "
        "changes the logit. Grad-CAM: where in the last stage's map the class is seen."
    )
    return joined(element("p", select), *figures, element("p", says, class_="soft"))


def _steps(look: Look) -> Markup:
    """Show every step of the model, those of a stage together."""
    parts: list[Markup] = []
    for stage, views in groupby(look.steps, key=lambda view: _stage_of(view.step.name)):
        several = list(views)
        spent = 1e3 * sum(view.seconds for view in several)
        title = f"Stage {int(stage) + 1}" if stage else "Before the stages" if not parts else "After the stages"
        says = f"{len(several)} steps, {sum(view.parameters for view in several):,} parameters, {spent:.0f} ms"
        parts.append(element("h3", title, " ", element("small", says)))
        parts += [_step(view, look.photo) for view in several]
    return joined(*parts)


def _stage_of(name: str) -> str:
    """Return the number of the stage that a step is in, by its name; nothing outside of the stages."""
    found = re.search(r"(?:^|\.)stages\.(\d+)(?:\.|$)", name)
    return found[1] if found else ""


def _step(view: StepView, photo: Picture) -> Markup:
    """Show a step: closed its name and shape, open its pictures, numbers and parameters."""
    step, shape = view.step, "x".join(map(str, view.shape[1:]))
    summary = element(
        "summary", element("code", step.name), element("span", f"{step.operation}, {shape}", class_="soft")
    )
    facts = [
        ("made by", element("a", step.operation, href=f"#source-{step.operation}")),
        ("which is", (inspect.getdoc(OPERATIONS[step.operation]) or "").partition("\n")[0].replace("``", "")),
        ("of", ", ".join(step.inputs)),
        ("with", ", ".join(f"{name}={value}" for name, value in step.attributes.items()) or "no settings"),
        ("shape", " x ".join(map(str, view.shape)) + f" ({step.layout})"),
        ("parameters", f"{view.parameters:,}"),
        ("multiply-adds", f"{view.multiply_adds:,}"),
        ("time", f"{1e3 * view.seconds:.2f} ms"),
    ]
    if view.after.summary is not None:
        one = view.after.summary
        facts.append(
            ("values", f"mean {one.mean:.3g}, deviation {one.deviation:.3g}, {one.lowest:.3g} to {one.highest:.3g}")
        )
        facts.append(("dead channels", str(one.dead)))
    table = element(
        "table", *(element("tr", element("th", name, scope="row"), element("td", says)) for name, says in facts)
    )
    pictures = [*_shown(view.before, "before"), *_shown(view.after, "after")]
    pictures += [_figure(picture, name, picture.caption, _class_of(picture)) for name, picture in view.weights.items()]
    attention = _attention(view.attention, photo) if view.attention else None
    return element("details", summary, _row(pictures), attention, table)


def _shown(shown: Shown, when: str) -> list[Markup]:
    """Return the pictures of an array."""
    return [
        _figure(picture, f"{when}: {name}", picture.caption, _class_of(picture))
        for name, picture in shown.pictures.items()
    ]


def _class_of(picture: Picture) -> str:
    """Return how large a picture is shown: a row of bars is wide."""
    height, width = picture.pixels.shape[:2]
    return "wide" if width > 3 * height else "large"


def _attention(attention: Attention, photo: Picture) -> Markup:
    """Show what the place of the photo under the pointer looks at."""
    a = attention
    numbers = ",".join(map(str, (a.rows, a.columns, a.height, a.width, a.tokens)))
    says = "What a place looks at: point at the photo, or move with the arrow keys; the mean over all heads."
    return element(
        "div",
        element(
            "p",
            says,
            " ",
            element("output"),
            " ",
            element("button", "class token", type="button") if a.tokens else None,
        ),
        _row(
            [
                element(
                    "canvas", tabindex=0, role="application", aria_label="The photo: choose a place with the arrow keys"
                ),
                element("canvas", role="img", aria_label="The attention map of that place"),
            ]
        ),
        image(photo.png(), "", hidden=True),
        image(a.atlas.png(), "", hidden=True),
        data_atlas=numbers,
    )


def _sources(sources: Mapping[str, str]) -> Markup:
    """Show the source of each function that made a step."""
    return joined(
        *(
            element("details", element("summary", element("code", name)), element("pre", source), id=f"source-{name}")
            for name, source in sources.items()
        )
    )


def _row(figures: Iterable[Markup]) -> Markup:
    """Put figures side by side, as many as fit."""
    return element("div", *figures, class_="row")


def _figure(picture: Picture, name: str, says: str, size: str) -> Markup:
    """Show a picture with its name below."""
    caption = element("figcaption", name, element("br") if says else None, element("small", says) if says else None)
    return element("figure", image(picture.png(), f"{name} {says}".strip(), class_=size), caption)
