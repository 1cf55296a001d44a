"""One's own photos: read them with their labels, train a classifier, and measure one.

Read in this order: ``photos`` (photos with labels, and their parts), which reads ``photo_folders``, ``photo_archives``
and ``photo_tables`` into ``photo_lists``; ``problems`` (what is wrong with them).
"""

from npconv.training.photos import LabelledPhotos, read_photo, read_photos, split
from npconv.training.problems import Problem, describe

__all__ = ["LabelledPhotos", "Problem", "describe", "read_photo", "read_photos", "split"]
