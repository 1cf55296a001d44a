"""Patterns of tensor names with the numbers of stages and blocks in them."""

from __future__ import annotations

import re

#: Token -> the number it stands for, what the name holds instead (number * factor + shift), and the least number.
#: ``{i}`` is a stage, ``{n}`` a stage that is not the first, ``{j}`` a block.
NUMBERS = {
    "{i}": ("i", 1, 0, 0),
    "{n}": ("i", 1, 0, 1),
    "{2i+1}": ("i", 2, 1, 0),
    "{2n}": ("i", 2, 0, 1),
    "{j}": ("j", 1, 0, 0),
}

#: A word such as ``stage1``.
WORD = "{word}"

_TOKENS = re.compile("(" + "|".join(re.escape(token) for token in (*NUMBERS, WORD)) + ")")

Values = dict[str, int | str]


class Pattern:
    """One pattern of names, such as ``stages.{i}.blocks.{j}.norm.weight``."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._parts = _TOKENS.split(text)
        # At most five digits: no model has more stages or blocks, and a name cannot ask for a huge number.
        groups = {token: "(0|[1-9][0-9]{0,4})" for token in NUMBERS} | {WORD: "([A-Za-z0-9_]+)"}
        self._regex = re.compile("".join(groups.get(part, re.escape(part)) for part in self._parts))

    def match(self, name: str) -> Values | None:
        """Return the numbers and words of a name, or None if it is not of this pattern."""
        found = self._regex.fullmatch(name)
        if found is None:
            return None
        values: Values = {}
        for token, text in zip(self._parts[1::2], found.groups(), strict=True):
            if token == WORD:
                values["word"] = text
                continue
            key, factor, shift, least = NUMBERS[token]
            number, rest = divmod(int(text) - shift, factor)
            if rest or number < least:
                return None
            values[key] = number
        return values

    def fill(self, values: Values) -> str:
        """Return the name of this pattern with given numbers and words; what is not given is 0 or empty."""
        parts = list(self._parts)
        for index in range(1, len(parts), 2):
            if parts[index] == WORD:
                parts[index] = str(values.get("word", ""))
            else:
                key, factor, shift, _ = NUMBERS[parts[index]]
                parts[index] = str(int(values.get(key, 0)) * factor + shift)
        return "".join(parts)
