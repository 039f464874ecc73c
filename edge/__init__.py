"""Courtyard: the edge gateway of a residential community's equipment room."""

__version__ = "0.1.0"
