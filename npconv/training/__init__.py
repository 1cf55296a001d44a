"""One's own photos: read them with their labels, train a classifier, and measure one.

Read in this order:

- ``photos``: photos with labels, and their parts; ``photo_lists``, ``photo_folders``, ``photo_archives`` and
  ``photo_tables``: where they are found; ``problems``: what is wrong with them
- ``labels``, ``evaluate``: a model on such photos; ``measures``, ``label_measures``: how good its answers are;
  ``report``, ``accuracy``: that as data, and in a model card
- ``figures``, ``mistakes``, ``curves``: pictures of it
"""

from npconv.training.evaluate import Evaluation, evaluate
from npconv.training.photos import LabelledPhotos, check_trainable, read_photo, read_photos, split
from npconv.training.problems import Problem, describe
from npconv.training.report import report

__all__ = [
    "Evaluation",
    "LabelledPhotos",
    "Problem",
    "check_trainable",
    "describe",
    "evaluate",
    "read_photo",
    "read_photos",
    "report",
    "split",
]
