"""The same models as tuned float32 engines for CPUs, built from the same parameter trees and equal in their numbers.

Each part comes in two pieces: a function `fold_...` from parameters to float32 arrays, which works out beforehand what
does not depend on the input, and a class that runs with these arrays and never writes to them. So processes can share
one folded file.

One file for each idea; read them in this order:

- ``products``: matrices of channels by positions and products of them; stem, downsampling and patch embedding
- ``depthwise``: depthwise convolution as products with banded matrices
- ``bottleneck``: LayerNorm, 1x1, the GELU family by one polynomial, GRN, 1x1, a tile of positions at a time
- ``engine``: arrays that are made once, who uses the cores, and how a batch is shared out

The families put them together in their ``fast.py``; that of CvT has its attention beside it.
"""
