"""What a model looks at, as arrays of which pictures are made.

- ``saliency``: what each pixel does to a class, by its gradient, and where in a stage's map a class is seen (Grad-CAM)
"""

from npconv.pictures.saliency import grad_cam, saliency

__all__ = ["grad_cam", "saliency"]
