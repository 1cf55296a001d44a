"""What a model does to a picture, as arrays and pictures, and the page that shows them.

- ``saliency``: what each pixel does to a class, by its gradient, and where in a stage's map a class is seen (Grad-CAM);
  ``occlusion``: by how much a score falls where the picture is covered; ``attention``: where a position looks, and the
  kernels of a layer. All are arrays that a notebook shows as pictures: ``heatmap``
- ``colours``: of numbers; ``picture``: finished pixels, and sheets of them; ``maps``: the channels of a map;
  ``overlay``: numbers over a photo
- ``charts``: curves and bars; ``gallery``: pictures with their names, and tables of shares; ``ink``: what they share;
  ``scales``: the numbers along an axis, there and in ``plots``
- ``difference``: two arrays that should be the same; ``relations``: what one is of the other; ``implied``: the weight
  that a step must have had; ``plots``: with axes and numbers
- ``diff_page``: the page of ``npconv diff --html``; ``diff_views``, ``diff_step_views`` and ``diff_legend`` are in it
- ``look``: everything that ``npconv look`` shows, ``views`` of each array, the way of the ``class_token``; ``page`` and
  ``sheets``: that as ``html``
- ``replay``: gradients in the memory of a block
"""

from npconv.pictures.attention import attention_map, kernels
from npconv.pictures.charts import bar_chart, curves
from npconv.pictures.difference import SideBySide, difference
from npconv.pictures.gallery import gallery
from npconv.pictures.heatmap import Heatmap
from npconv.pictures.maps import maps
from npconv.pictures.occlusion import occlusion
from npconv.pictures.overlay import overlay, photo_of
from npconv.pictures.picture import Picture
from npconv.pictures.saliency import grad_cam, saliency

__all__ = [
    "Heatmap",
    "Picture",
    "SideBySide",
    "attention_map",
    "bar_chart",
    "curves",
    "difference",
    "gallery",
    "grad_cam",
    "kernels",
    "maps",
    "occlusion",
    "overlay",
    "photo_of",
    "saliency",
]
