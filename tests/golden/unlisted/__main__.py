"""Print what becomes of every mistake; see the top of the package."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from tests.golden.unlisted import ENTRIES, LISTS
from tests.golden.unlisted.parts import PARTS, lines, tell
from tests.golden.unlisted.verdict import TRACES, examine, prepare, sums, table


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables; return 1 if a first array or a reason is wrong, else 0."""
    kinds = list(dict.fromkeys(entry.kind for entry in ENTRIES))
    description = "Make mistakes that are in no catalogue, and see whether they are found and told."
    parser = argparse.ArgumentParser(prog="python -m tests.golden.unlisted", description=description)
    parser.add_argument("--traces", choices=TRACES, help="all steps, or outputs of stages alone; both when unset")
    parser.add_argument("--kind", choices=kinds, help="mistakes of one kind")
    parser.add_argument("--list", choices=(*LISTS, "parts"), default="hundred", help="which mistakes")
    args = parser.parse_args(arguments)
    if args.list == "parts":
        told = [tell(part) for part in PARTS]
        print("\n".join(lines(told)))
        return int(any(one.outcome == "wrong" for one in told))
    entries = [entry for entry in LISTS[args.list] if args.kind in (None, entry.kind)]
    prepare(entries)
    failed = False
    for traces in TRACES if args.traces is None else (args.traces,):
        verdicts = [examine(entry, traces) for entry in entries]
        failed |= any(not verdict.is_first or verdict.outcome == "wrong" for verdict in verdicts)
        print("\n".join([f"{traces} traces", "", *table(verdicts), "", *sums(verdicts), ""]))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
