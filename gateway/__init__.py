"""Outrider: an OpenAI-compatible gateway that checks while it answers."""

__version__ = "0.1.0"
