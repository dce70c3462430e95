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
        names = tuple(cls.__annotations__)
        defaults = {name: cls.__dict__[name] for name in names if name in cls.__dict__}

        def __init__(self, *values, **named):  # noqa: N807
            if named or len(values) != len(names):
                values = _arranged(cls, names, defaults, values, named)
            self.__dict__.update(zip(names, values))  # noqa: B905  # of one length

        cls.__init__ = __init__
        cls.__setattr__ = cls.__delattr__ = _refuse
        cls.__eq__ = _equals
        cls.__hash__ = _hash
        if "__repr__" not in cls.__dict__:
            cls.__repr__ = _repr
        return cls


def _arranged(cls, names, defaults, values, named):  # type: ignore[no-untyped-def]
    """All values in the order of the fields. Raises TypeError as any call does."""
    if len(values) > len(names):
        raise TypeError(f"{cls.__name__} takes {len(names)} values, and {len(values)} were given")
    given = dict(zip(names, values, strict=False))
    for name in named:
        if name in given or name not in names:
            raise TypeError(f"{cls.__name__} cannot take {name!r} (here or again)")
    given = {**defaults, **given, **named}
    missing = [name for name in names if name not in given]
    if missing:
        raise TypeError(f"{cls.__name__} needs {', '.join(missing)}")
    return [given[name] for name in names]


def _refuse(self: object, name: str, *_: object) -> None:
    raise AttributeError(f"{type(self).__name__} is frozen: {name} cannot be changed")


def _equals(self: object, other: object) -> bool:
    return type(self) is type(other) and self.__dict__ == other.__dict__


def _hash(self: object) -> int:
    return hash(tuple(self.__dict__.values()))


def _repr(self: object) -> str:
    fields = ", ".join(f"{name}={value!r}" for name, value in self.__dict__.items())
    return f"{type(self).__name__}({fields})"
