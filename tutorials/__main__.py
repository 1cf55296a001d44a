"""Run the lessons and build ``tutorials/build/index.html`` and a notebook of each.

python -m tutorials [LESSON ...]

LESSON is the beginning of a file name, such as 04. Needs the extra ``tutorials``; a single lesson alone needs nothing
but npconv: ``python tutorials/04_layer_norm.py``.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
# As when a lesson is run as a script, so that both find `showing` and `exercises` in the same place.
sys.path.insert(0, str(FOLDER))


def main(argv: list[str] | None = None) -> int:
    """Build what the arguments ask for; return 0, 1 if a lesson failed, or 2 if nothing could be run."""
    from pages.cells import find_lessons
    from pages.running import LessonError, Run, run

    parser = argparse.ArgumentParser(prog="python -m tutorials", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("lessons", nargs="*", metavar="LESSON", help="beginning of a file name, such as 04 (all)")
    parser.add_argument("--output", type=Path, default=FOLDER / "build", help="folder to write to (tutorials/build)")
    arguments = parser.parse_args(argv)
    try:
        from pages.notebook import to_notebook
        from pages.page import to_page

        lessons = find_lessons(FOLDER, arguments.lessons)
        arguments.output.mkdir(parents=True, exist_ok=True)
    except ImportError as error:
        print(f"error: building the page needs an extra: pip install '.[tutorials]' ({error})", file=sys.stderr)
        return 2
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    runs: list[Run] = []
    for count, lesson in enumerate(lessons, 1):
        print(f"[{count:2}/{len(lessons)}] {lesson.path.stem} ...", end=" ", flush=True)
        try:
            runs.append(run(lesson))
        except LessonError as error:
            print(f"failed: {error}", flush=True)
            continue
        print(f"{runs[-1].seconds:.1f} s, pictures: {runs[-1].pictures}", flush=True)
        (arguments.output / f"{lesson.path.stem}.ipynb").write_text(to_notebook(runs[-1]), encoding="utf-8")
    if runs:
        (arguments.output / "index.html").write_text(to_page(runs), encoding="utf-8")
        print(f"{arguments.output / 'index.html'} written")
    return 0 if len(runs) == len(lessons) else 1


if __name__ == "__main__":
    sys.exit(main())
