"""The golden files: which cases there are, how their numbers are drawn, and the reference that computes them.

``cases`` is the table, ``draw`` needs NumPy only, ``reference`` needs torch and transformers.
"""
