"""The pieces of :mod:`weights_tools.train`, one a file, in the order in which a run uses them.

``pictures`` reads labelled pictures, ``augment`` varies them, ``families`` builds the network, ``fast_grn`` makes one
layer of it quicker to train, ``loop`` trains, ``saving`` writes the finished model.
"""
