"""The pieces of :mod:`weights_tools.train` that only a training from nothing needs, in the order of their use.

``pictures`` reads labelled pictures, ``recipe`` says how to train, ``families`` builds the network, ``fast_grn`` and
``matrix_depthwise`` make two layers of it quicker to train, ``augment`` varies the pictures, ``weights`` and
``learner`` go from a batch to the gradients on a device, ``saving`` writes the finished model. The loop is that of
``npconv.training``.
"""
