"""The version, below everything that tells it."""

__version__ = "0.2.0.dev0"
