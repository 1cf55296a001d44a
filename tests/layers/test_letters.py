"""Letters of shapes: what they come to, which form an array has, and where two arrays do not fit each other."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npconv.errors import ShapeError
from npconv.layers.letters import axes_of, bind, evaluate


@pytest.mark.parametrize(
    ("term", "length"),
    [("N", 2), ("7", 7), ("H*W", 12), ("1+H*W", 13), ("t+H*W", 12), ("N*H+3*W", 18), ("H+1", 4), ("C/groups", 5)],
)
def test_a_term_is_a_sum_of_products_in_which_what_is_not_known_counts_nothing(term, length):
    assert evaluate(term, {"N": 2, "H": 3, "W": 4, "C/groups": 5}) == length


@pytest.mark.parametrize(
    ("text", "shape", "axes"),
    [
        ("N C H W", (2, 3, 4, 5), ["N", "C", "H", "W"]),
        ("N C H W", (2, 3, 4), None),
        ("", (), []),
        ("", (1,), None),
        ("O C | O C 1 1", (4, 3), ["O", "C"]),
        ("O C | O C 1 1", (4, 3, 1, 1), ["O", "C", "1", "1"]),
        ("O C | O C 1 1", (4, 3, 1, 2), None),
        ("1 C 1 1 | 1 1 1 C", (1, 1, 1, 6), ["1", "1", "1", "C"]),
        ("1 C 1 1 | 1 1 1 C", (1, 6, 1, 1), ["1", "C", "1", "1"]),
        ("... D", (2, 3, 4), ["...0", "...1", "D"]),
        ("... D", (4,), ["D"]),
        ("... D", (), None),
        ("N ...", (2, 3), ["N", "...0"]),
        ("...", (), []),
        ("... C ...", (2, 3), ["...0", "...1"]),  # which of them is C, the argument `axis` says
    ],
)
def test_the_term_of_each_axis(text, shape, axes):
    assert axes_of(text, shape) == axes


@given(st.integers(0, 3), st.integers(1, 4), st.integers(1, 4), st.integers(0, 3))
def test_a_sum_of_products_says_the_one_letter_that_is_not_known(tokens, height, width, more):
    lengths = {"H": height, "W": width}
    bind("layer", "x", "N t+H*W D", (2, tokens + height * width, 5), lengths)
    assert (lengths["N"], lengths["t"], lengths["D"]) == (2, tokens, 5)
    bind("layer", "y", "N t+H*W", (2, tokens + height * width), lengths)
    with pytest.raises(ShapeError):
        bind("layer", "y", "N t+H*W", (2, tokens + height * width + 1 + more), lengths)


@pytest.mark.parametrize(
    ("before", "text", "shape", "message"),
    [
        ("N C", "N C", (2, 4), r"^layer: expected y of shape \(2, 3\), as the arrays before it say, got \(2, 4\)$"),
        ("N C", "N C", (2,), r"^layer: expected y of shape \(N, C\), got \(2,\)$"),
        ("N C", "O C | O C 1 1", (4, 3, 2, 1), r"^layer: expected y of shape \(O, C\) or \(O, C, 1, 1\), got"),
        ("N C", "N C+D", (2, 2), r"^layer: expected y of shape \(2, 3\), as the arrays before it say"),
        ("...", "...", (2, 1), r"^layer: expected y of shape \(2, 3\), as the arrays before it say, got \(2, 1\)$"),
        ("...", "...", (3,), r"^layer: expected y with 2 axes like those before it, got \(3,\)$"),
        ("...", "...", (), r"^layer: expected y with 2 axes like those before it, got \(\)$"),
        ("...", "...", (2, 3, 1), r"^layer: expected y with 2 axes like those before it, got \(2, 3, 1\)$"),
    ],
)
def test_an_array_that_does_not_fit_those_before_it_is_refused(before, text, shape, message):
    lengths = {}
    bind("layer", "x", before, (2, 3), lengths)
    bind("layer", "again", before, (2, 3), lengths)
    with pytest.raises(ShapeError, match=message):
        bind("layer", "y", text, shape, lengths)
