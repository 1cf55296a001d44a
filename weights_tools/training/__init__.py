"""The pieces of :mod:`weights_tools.train`, one a file, in the order in which a run uses them.

``pictures`` reads labelled pictures, ``recipe`` says how to train, ``families`` builds the network, ``fast_grn`` and
``matrix_depthwise`` make two layers of it quicker to train, ``augment`` varies the pictures, ``step`` goes from a batch
to the gradients, ``loop`` trains and writes the finished model.
"""
