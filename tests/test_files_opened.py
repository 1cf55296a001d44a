"""How many files somebody must open to follow a call: as few as the ideas in it."""

import pytest
from support.files_opened import CALLS, count

pytestmark = pytest.mark.long

#: The most files of npconv that may have a part in each call; see ``support/files_opened.py``. The aims are 20 for a
#: photo, 25 for a comparison and 35 for a conversion. What decides how a file is read safely and what its numbers mean
#: is more than that: meaning and price of a picture, passes of Pillow, locks, forks, bounds of a plan, side files,
#: leftovers, checks of fields, arguments of loading, marks of parameters, what a pipeline may be given are a file each,
#: and none has more than one idea.
LIMITS = {
    ("classify", "fast"): 28,
    ("classify", "explicit"): 28,
    ("diff", "equal"): 40,  # names of libraries, readings, islands, weights, units and gradients are a file each
    ("diff", "wrong"): 69,  # of a mistake in no catalogue: kinds of mistakes, runs and subsets are a file each
    ("convert", "bin"): 65,
}


def test_every_call_has_a_limit():
    assert list(LIMITS) == [(name, part) for name, parts in CALLS.items() for part in parts]


@pytest.mark.parametrize(("name", "part"), LIMITS)
def test_no_more_files_have_a_part(name, part):
    assert len(count(name, part)) <= LIMITS[name, part]
