"""azready: makes a Linux image ready for Azure. Standard library only."""

__version__ = "0.1.0"
