"""Programs of a few lines that record what a port computes, to copy; they need nothing of npconv.

``record_pytorch`` is tested against transformers and timm, ``record_jax`` and ``record_mlx`` on ports in Flax and MLX;
``record_ggml.md`` is not run by npconv's tests. The files are not called ``jax.py`` or ``mlx.py``, because a copy
of that name beside a program would be imported in place of the library.
"""
