"""What programs import from ``transformers.image_utils``: a picture by path or URL, and Pillow's filters."""

from __future__ import annotations

from PIL import Image
from PIL.Image import Resampling as PILImageResampling

from npconv.images.decode import PictureSource, is_url, open_image
from npconv.images.remote import fetch

__all__ = ["PILImageResampling", "load_image"]


def load_image(image: PictureSource, timeout: float | None = None) -> Image.Image:
    """Return a picture in RGB, upright.

    Parameters
    ----------
    image : str, os.PathLike, bytes, binary file object or PIL.Image.Image
        A path, a URL, the content of a file (as text in base64, too), an open file, or a picture.
    timeout : float, optional
        Seconds that fetching a URL may take.

    Raises
    ------
    ImageError, InputError
        If it cannot be read or fetched.
    """
    if isinstance(image, str) and is_url(image):
        return open_image(fetch(image, timeout))
    return open_image(image)
