"""The fast engine of ConvNeXt V2: that of ConvNeXt, which does GRN where there are parameters of it."""

from __future__ import annotations

from functools import partial

from npconv.models.convnext import fast as convnext
from npconv.models.convnextv2.model import GRN_EPS

fold = convnext.fold
make_engine = partial(convnext.make_engine, grn_eps=GRN_EPS)
