"""Kinds of mistakes: what a port may have done where no mistake of the catalogue fits.

A kind gives out, for a step and what is known of it (``change``), the ways in which it may have been computed
otherwise; ``search`` puts those together that are the same in several steps. In the order in which they are tried:

- ``held``: the weights that the port says it has
- ``blocks``: the parameters of another block
- ``pictures``: filters, crops, colours, levels
- ``parameters``: another parameter, or the right one in another order or in fewer bits; ``solved`` solves for it
- ``structure``: left out, twice, past its neighbour, of another array, over other axes
- ``geometry``: padding, strides, dilation, turned maps
- ``precision``: fewer bits
- ``continuous``: a factor, an offset, a bound, an exponent, an epsilon, as ``numbers`` writes them; in parts of several
  steps this comes right after ``blocks``
"""
