"""A column of a data set as a data set, for pipelines."""

from __future__ import annotations

from typing import Any


class KeyDataset:
    """The entries of a data set under one key.

    Parameters
    ----------
    dataset : object with ``__len__`` and ``__getitem__``
        Its entries are dictionaries.
    key : str
        The name of the column.
    """

    def __init__(self, dataset: Any, key: str) -> None:
        self.dataset = dataset
        self.key = key

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, i: int) -> Any:
        return self.dataset[i][self.key]
