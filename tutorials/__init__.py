"""Lessons that run. ``python -m tutorials`` runs them all and builds a page and notebooks; see ``README.md``."""
