"""Kinds of mistakes: what a port may have done where no mistake of the catalogue fits.

A kind gives out, for a step and what is known of it (``change``), the ways in which it may have been computed
otherwise; ``search`` runs the step so and compares. In the order in which they are tried:

- ``held``: the weights that the port says it has
- ``blocks``: the parameters of another block
- ``parameters``: another parameter, or the right one in another order or in fewer bits; ``solved`` solves for it
- ``structure``: left out, twice, past its neighbour, of another array, over other axes
- ``geometry``: padding, strides, dilation, turned maps
- ``pictures``: filters, crops, colours, levels
- ``precision``: fewer bits
- ``continuous``: a factor, an offset, a bound, an exponent, an epsilon, as ``numbers`` writes them
"""
