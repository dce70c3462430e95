"""Replaces reprlib inside the static file, with what functools imports."""


def recursive_repr(fillvalue="..."):
    """Return a decorator that changes nothing: nothing here contains itself."""
    return lambda function: function
