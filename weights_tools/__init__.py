"""What makes the files that npconv loads: convert, train, goldens, sample pictures.

Nothing here is imported by the package `npconv`. Single modules may need an extra (``train``, ``reference``);
they say so when it is missing.
"""
