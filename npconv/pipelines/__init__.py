"""What programs import from ``transformers.pipelines``: ``pipeline``; and of data sets, ``pt_utils``."""

from npconv.api.pipelines import pipeline

__all__ = ["pipeline"]
