"""All lessons as one page that needs nothing but itself: text, code, outputs and pictures."""

from __future__ import annotations

import base64
from html import escape
from pathlib import Path
from string import Template

from markdown_it import MarkdownIt
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from npconv.pictures import Picture
from pages.running import Output, Run

_HERE = Path(__file__).parent
_MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable("table")
_LIGHT, _DARK = "default", "github-dark"


def to_page(runs: list[Run]) -> str:
    """Return the text of an HTML file."""
    contents = "".join(f'<li><a href="#lesson-{run.lesson.number}">{escape(run.lesson.title)}</a></li>' for run in runs)
    template = Template((_HERE / "page.html").read_text(encoding="utf-8"))
    style = (_HERE / "page.css").read_text(encoding="utf-8")
    light = HtmlFormatter(style=_LIGHT).get_style_defs(".highlight")
    dark = HtmlFormatter(style=_DARK).get_style_defs(".highlight")
    return template.substitute(
        style=f"{style}\n{light}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}",
        contents=contents,
        lessons="\n".join(_lesson(run) for run in runs),
    )


def _lesson(run: Run) -> str:
    """Return one lesson."""
    parts = []
    for cell, outputs in zip(run.lesson.cells, run.outputs, strict=True):
        if cell.is_text:
            parts.append(_MARKDOWN.render(cell.source))
        else:
            parts.append(f'<div class="code">{_code(cell.source)}</div>')
            parts += [_output(output) for output in outputs]
    facts = f"{run.lesson.path.name}, {run.seconds:.1f} s"
    body = "\n".join(parts)
    return f'<section id="lesson-{run.lesson.number}">\n{body}\n<p class="facts">{escape(facts)}</p>\n</section>'


def _output(output: Output) -> str:
    """Return what a cell printed or showed."""
    if isinstance(output, str):
        return f'<pre class="printed" tabindex="0">{escape(output)}</pre>'
    if isinstance(output, Picture):
        image = base64.b64encode(output.png()).decode()
        size = f'width="{output.image.width}" height="{output.image.height}"'
        caption = escape(output.caption)
        source = f"data:image/png;base64,{image}"
        return f'<figure><img src="{source}" {size} alt="{caption}"><figcaption>{caption}</figcaption></figure>'
    return f'<div class="code library">{_code(output.text)}</div>'


def _code(source: str) -> str:
    """Return Python in colours; it can be scrolled with the keyboard."""
    return highlight(source.strip("\n"), PythonLexer(), HtmlFormatter()).replace("<pre>", '<pre tabindex="0">')
