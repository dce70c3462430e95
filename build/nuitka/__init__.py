"""The alternative freezer."""
