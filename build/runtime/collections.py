"""Replaces collections and collections.abc inside the static file.

The standard module makes named tuples by compiling text, and the file has no compiler; its abstract
base classes are for the checker, not for a first boot.
"""

import sys

from _collections import OrderedDict, _tuplegetter, defaultdict, deque


def namedtuple(typename, field_names):
    """Return a class of tuples with named fields, all of which must be given by position."""
    fields = tuple(field_names)

    def new(cls, *values):
        if len(values) != len(fields):
            raise TypeError(f"{typename} takes {len(fields)} values, not {len(values)}")
        return tuple.__new__(cls, values)

    def show(self):
        return f"{typename}({', '.join(map('{}={!r}'.format, fields, self))})"

    members = {name: _tuplegetter(at, None) for at, name in enumerate(fields)}
    members |= {"__slots__": (), "_fields": fields, "__new__": new, "__repr__": show}
    return type(typename, (tuple,), members)


Callable = Iterable = Iterator = Mapping = Sequence = object
sys.modules["collections.abc"] = sys.modules[__name__]
