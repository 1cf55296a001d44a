"""The photos that a model is most wrong about, on one sheet: where labels are wrong, they are among these."""

from __future__ import annotations

import os

import numpy as np
from PIL import Image

from npconv.errors import ImageError
from npconv.images import open_image
from npconv.pictures.gallery import TILE, Caption, contact_sheet
from npconv.training.evaluate import Evaluation
from npconv.training.photos import photo_source
from npconv.training.problems import counted


def worst(evaluation: Evaluation, most: int) -> np.ndarray:
    """Return the places of photos with wrong answers, those with the least probability of the truth first.

    The evaluation is of a model that tells one class; of another it is an `InputError`.
    """
    answers = evaluation.answers_of_one_class()
    order = np.argsort(-answers.loss, kind="stable")
    return order[~answers.is_right[order]][:most]


def draw_mistakes(evaluation: Evaluation, most: int = 10) -> Image.Image:
    """Draw the photos with the worst answers, each with its class, the answer and the file.

    A photo that cannot be read any more is a grey square. Without a wrong answer, the sheet says so.
    """
    photos, answers = evaluation.photos, evaluation.answers_of_one_class()
    places = worst(evaluation, most)
    captions = []
    for place in places.tolist():
        file = photos.files[place]
        truth, answer = photos.classes[answers.truth[place]], photos.classes[answers.answer[place]]
        lines = (truth, f"taken for {answer}, {answers.confidence[place]:.0%}", os.path.basename(file))
        captions.append(Caption(_thumbnail(file), lines))
    wrong = int(np.count_nonzero(~answers.is_right))
    title = f"{counted(len(places), 'photo', 'photos')} of {wrong:,} with a wrong answer, the worst first"
    return contact_sheet(captions, title if wrong else "No photo has a wrong answer", widest=TILE)


def _thumbnail(file: str) -> Image.Image:
    """Return a photo, small enough to keep."""
    try:
        picture = open_image(photo_source(file))
    except ImageError:
        return Image.new("RGB", (TILE, TILE), "grey")
    picture.thumbnail((TILE, TILE))
    return picture
