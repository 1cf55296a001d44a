"""A lesson that was run, as a Jupyter notebook with its outputs."""

from __future__ import annotations

import base64

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from npconv.pictures import Picture
from pages.running import Output, Run

#: The notebooks lie one folder below the lessons.
SETUP = '# Lets this notebook find the modules beside the lessons.\nimport sys\n\nsys.path.insert(0, "..")'


def to_notebook(run: Run) -> str:
    """Return the text of a ``.ipynb`` file.

    Raises
    ------
    nbformat.ValidationError
        If it is not what the format asks for.
    """
    cells = [new_code_cell(SETUP)]
    count = 0
    for cell, outputs in zip(run.lesson.cells, run.outputs, strict=True):
        if cell.is_text:
            cells.append(new_markdown_cell(cell.source))
            continue
        count += 1
        shown = [_output(output) for output in outputs]
        cells.append(new_code_cell(cell.source.strip("\n"), execution_count=count, outputs=shown))
    for index, cell in enumerate(cells):  # random otherwise, so that a second build would differ
        cell["id"] = f"cell-{index}"
    language = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook = new_notebook(cells=cells, metadata={"kernelspec": language, "title": run.lesson.title})
    nbformat.validate(notebook)
    return nbformat.writes(notebook) + "\n"


def _output(output: Output) -> nbformat.NotebookNode:
    """Return what a cell printed or showed."""
    if isinstance(output, str):
        return new_output("stream", name="stdout", text=output)
    if isinstance(output, Picture):
        image = base64.b64encode(output.png()).decode()
        return new_output("display_data", data={"image/png": image, "text/plain": output.caption})
    return new_output("stream", name="stdout", text=output.text + "\n")
