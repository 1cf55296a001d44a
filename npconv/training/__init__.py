"""One's own photos: read them with their labels, train a classifier, and measure one.

Read in this order:

- ``photos``: photos with labels, and their parts; ``photo_lists``, ``photo_folders``, ``photo_archives`` and
  ``photo_tables``: where they are found; ``problems``: what is wrong with them
- ``labels``, ``evaluate``: a model on such photos; ``measures``, ``label_measures``: how good its answers are;
  ``report``, ``accuracy``: that as data, and in a model card
- ``parts``, ``features`` (with ``feature_cache`` and ``tables``), ``duplicates``: what is known of photos before
  anything is trained; ``shortened``, ``head`` and ``frozen``: a new head for a network that stays as it is
- ``recipe``, ``pictures``, ``augment``: how a network is trained, and on what; ``groups``, ``weights``, ``learner`` and
  ``torch_learner``: the network, what of it is trained, and its gradients; ``optimizer``, ``schedule``, ``average``,
  ``checkpoint`` and ``loop``: the training itself; ``unfrozen``: a network that learns, beginning with such a head
- ``figures``, ``mistakes``: pictures of it; ``card``: what is said of a model that was made
- ``finetune``: all of it, from photos to the folder of a model
"""

from npconv.training.evaluate import Evaluation, evaluate
from npconv.training.finetune import FineTuned, finetune
from npconv.training.photos import LabelledPhotos, check_trainable, read_photo, read_photos, split
from npconv.training.problems import Problem, describe
from npconv.training.recipe import Recipe
from npconv.training.report import report

__all__ = [
    "Evaluation",
    "FineTuned",
    "LabelledPhotos",
    "Problem",
    "Recipe",
    "check_trainable",
    "describe",
    "evaluate",
    "finetune",
    "read_photo",
    "read_photos",
    "report",
    "split",
]
