"""The same models as tuned float32 engines for CPUs, built from the same parameter trees and equal in their numbers.

Each part comes in two pieces: a function `fold_...` from parameters to float32 arrays, which works out beforehand what
does not depend on the input, and a class that runs with these arrays and never writes to them. So processes can share
one folded file.

One file for each idea; read them in this order:

- ``products``: matrices of channels by positions and products of them; stem, downsampling and patch embedding
- ``depthwise``: depthwise convolution as products with banded matrices
- ``bottleneck``: LayerNorm, 1x1, the GELU family by one polynomial, GRN, 1x1, a tile of positions at a time
- ``engine``: arrays that are made once, who uses the cores, and how a batch is shared out
- ``team``: processes that work on one picture together

The families put them together in their ``fast.py``; that of CvT has its attention beside it.

Tried and left out, in ms for one picture of 224 x 224 on two cores of an EPYC (Zen 5, AVX-512), best of 30 to 60:

=====================================================================  =========================================
Threads that look for work for 0.05 to 1 ms before they sleep          V2-A 10.9 -> 12.0 to 12.2, CvT-13 45.9 ->
                                                                       47.1 to 47.5: they take Python's lock
GRN's hidden channels by threads from end to end, as without GRN       V2-A 11.4 and 11.7 -> 13.0 and 11.9
Activations in parts of 40,000 or 160,000 to 320,000 values            all four models -3 to +4 %
Tiles of 80,000 or 320,000 to 640,000 hidden values                    -2 to +9 %
Windows of depthwise convolutions: 1.6 or 3.2 MB at a time             one map alone 8 % less, models -2 to +7 %
The same: 100 to 400 kB                                                one map alone 1 to 60 % more
A folder of photos, with memory that Pillow (PILLOW_BLOCKS_MAX) or     V2-A on a Zen 4, a photo: 28.9 -> 28.3 and
the C library (MALLOC_TRIM_THRESHOLD_) keeps between them              28.7, which is noise
Depthwise convolutions of up to 40,000 values left to one thread       alone 30 to 50 us less each, V2-A 11.3 ->
                                                                       11.7
=====================================================================  =========================================

What a second thread brings V2-A, 1.2 times as much, is held back by calls of 5 to 20 us each, between which only one
thread runs Python; ConvNeXt-T, whose calls are longer, gains 1.65. A team of two processes gains 1.6 to 1.7 with all
four models (two cores of a Xeon, Sapphire Rapids, that share one's arithmetic), where threads gain 1.2 to 1.5. With a
team there, tiles of 80,000 or 320,000 hidden values take -6 to +4 %, activations in parts of 20,000 or 40,000 values
-3 to +9 %, and windows of 400 kB -2 to +3 %. Products with 49 columns are 15 % quicker there without slabs, which the
EPYC needs; they are a seventh of ConvNeXt-T.

On a Zen 4 (1 MB of second-level cache), for 4 pictures on one core, each by itself: tiles of 80,000 or 320,000 hidden
values -1 to +3 %, activations in parts of 20,000 or 40,000 values 0 to +3 %, windows of 400 kB -1 to +1 %, maps of
200,000 or 800,000 values together -2 to +2 %, tiles of 128 positions 1 to 7 % more.
"""
