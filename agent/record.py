"""Frozen values: a decorated class lists its fields as annotations, and an instance never changes.

What `@dataclass(frozen=True)` gives, without its import: `dataclasses` costs a start milliseconds,
`record` about ten microseconds a class. To the type checker both are the same (PEP 681).
Annotations must be strings or names that exist at run time; they are counted, not read.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar, dataclass_transform

    T = TypeVar("T")

    @dataclass_transform(frozen_default=True)
    def record(cls: type[T]) -> type[T]:
        """Make the annotated attributes of `cls` its fields; class attributes are defaults."""
        raise NotImplementedError

else:

    def record(cls):
        """Make the annotated attributes of `cls` its fields; class attributes are defaults."""
        fields = dict.fromkeys(cls.__annotations__, ...)  # to their defaults, ... without one
        fields |= {name: cls.__dict__[name] for name in fields if name in cls.__dict__}

        def __init__(self, *values, **named):  # noqa: N807
            if named or len(values) != len(fields):
                values = _arranged(cls, fields, values, named)
            self.__dict__.update(zip(fields, values))  # noqa: B905  # of one length

        cls.__init__ = __init__
        cls.__setattr__ = cls.__delattr__ = _refuse
        cls.__eq__ = _equals
        cls.__hash__ = _hash
        if "__repr__" not in cls.__dict__:
            cls.__repr__ = _repr
        return cls


def _arranged(cls, fields, values, named):  # type: ignore[no-untyped-def]
    """All values in the order of the fields. Raises TypeError as any call does."""
    names = tuple(fields)
    if len(values) > len(names):
        raise TypeError(f"{cls.__name__} takes {len(names)} values, and {len(values)} were given")
    for name in named.keys() - names[len(values) :]:
        raise TypeError(f"{cls.__name__} cannot take {name!r} (here or again)")
    arranged = fields | dict(zip(names, values, strict=False)) | named
    if ... in arranged.values():
        missing = [name for name in names if arranged[name] is ...]
        raise TypeError(f"{cls.__name__} needs {', '.join(missing)}")
    return arranged.values()


def _refuse(self: object, name: str, *_: object) -> None:
    raise AttributeError(f"{type(self).__name__} is frozen: {name} cannot be changed")


def _equals(self: object, other: object) -> bool:
    return type(self) is type(other) and self.__dict__ == other.__dict__


def _hash(self: object) -> int:
    return hash(tuple(self.__dict__.values()))


def _repr(self: object) -> str:
    fields = ", ".join(f"{name}={value!r}" for name, value in self.__dict__.items())
    return f"{type(self).__name__}({fields})"
