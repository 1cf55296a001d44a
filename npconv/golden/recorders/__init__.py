"""Programs of a few lines that record what a port computes, to copy; they need nothing of npconv.

``record_pytorch`` is tested against transformers. ``record_jax``, ``record_mlx`` and ``record_ggml.md`` are not run by
npconv's tests: what they need is not installed there. The files are not called ``jax.py`` or ``mlx.py``, because a copy
of that name beside a program would be imported in place of the library.
"""
