"""Sheets of maps and bars as HTML: which channels are shown is chosen on the page, ``page.js`` draws them."""

from __future__ import annotations

from npconv.html import Markup, element, image
from npconv.pictures.views import Bars, Sheet

#: Maps that are shown at once.
AT_ONCE = 16

#: Of an SVG with a bar: its units.
_BAR_WIDTH, _BAR_HEIGHT = 100, 8


class Sheets:
    """The sheets of a page. Each stands in it once, and is named where it is shown again."""

    def __init__(self) -> None:
        self._names: dict[Sheet, str] = {}

    def chooser(self, **sheets: Sheet | None) -> Markup:
        """Show sheets of the same channels beside each other, each with its name, and let the reader choose of them."""
        shown = {name.replace("_", " "): sheet for name, sheet in sheets.items() if sheet is not None}
        first = next(iter(shown.values()))
        channels = first.channels
        count, name = len(channels), " and ".join(shown)
        ranks = [
            element("option", f"{start + 1} to {min(start + AT_ONCE, count)}", value=start)
            for start in range(0, count, AT_ONCE)
        ]
        kept = "all" if count == first.of else f"the {count} strongest"
        return element(
            "div",
            element(
                "p",
                element("label", "Strongest ", element("select", *ranks, aria_label=f"Strongest channels, {name}")),
                element("label", " or numbers ", element("input", size=12, placeholder="3, 8-11", inputmode="text")),
                element("output", f"of {first.of:,} channels, {kept} to choose from", class_="soft"),
            ),
            element("div", *(self._tiles(sheet, name) for name, sheet in shown.items()), class_="row"),
            data_sheet=",".join(map(str, channels)),
            data_at_once=AT_ONCE,
            class_="part",
        )

    def _tiles(self, sheet: Sheet, name: str) -> Markup:
        """Return where the tiles of a sheet are drawn, with the sheet itself if it was not shown yet."""
        is_new = sheet not in self._names
        known = self._names.setdefault(sheet, f"sheet-{len(self._names)}")
        return element(
            "figure",
            element("figcaption", name),
            element("div", class_="tiles", data_from=known, data_tile=f"{sheet.height},{sheet.width}"),
            image(sheet.png, "", id=known, hidden=True) if is_new else None,
        )


def bar_table(found: Bars, says: str) -> Markup:
    """Show numbers as labelled bars, each from 0 to the right; orange ones are negative."""
    most = max((abs(value) for values in found.series.values() for value in values), default=0.0) or 1.0
    head = element("tr", *(element("th", name, scope="col") for name in ("channel", *found.series)))
    rows = [
        element(
            "tr",
            element("th", str(place), scope="row"),
            *(element("td", _bar(values[row] / most), f" {values[row]:.3g}") for values in found.series.values()),
        )
        for row, place in enumerate(found.places)
    ]
    caption = element("caption", f"{says} ({len(rows)} of {found.of:,})")
    return element("div", element("table", caption, head, *rows, class_="bars"), class_="scrolls")


def _bar(share: float) -> Markup:
    """Draw a bar of a share of the largest."""
    bar = element(
        "rect",
        width=f"{_BAR_WIDTH * min(abs(share), 1.0):.1f}",
        height=_BAR_HEIGHT,
        class_="below" if share < 0 else "above",
    )
    return element("svg", bar, viewBox=f"0 0 {_BAR_WIDTH} {_BAR_HEIGHT}", aria_hidden="true")
