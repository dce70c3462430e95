"""XML documents of the platform: the text of the elements that were asked for, in the order of the document.

Strategy: expat (the parser in CPython itself) walks the document once and keeps only what is wanted, so unknown elements cost nothing. DTDs are
refused, which rules out entity tricks; size, depth and the length of a text are capped. No message repeats a text of the document: it may be secret.
"""

from pyexpat import ExpatError, ParserCreate

from agent.errors import ProtocolError

MAX_SIZE = 1024 * 1024  # bytes
MAX_DEPTH = 64


class XmlError(ProtocolError):
    """The document cannot be used; the text says why, without the document's name in front."""


class NotWellFormed(XmlError):
    """The document is not XML."""


def texts(
    document: bytes,
    root: str,
    wanted: "tuple[str, ...]",
    marks: "tuple[str, ...]" = (),
    longest: int = 4096,
) -> "list[tuple[str, str | None]]":
    """(path, text) of every element whose path is in `wanted`, stripped of padding, and (path, "") where an element in `marks` starts.

    The text is None where an element stands inside of it: whoever needs it must refuse the document.

    A path is the element names from `root` on, joined by "/"; a name in a name space is `URI}local`, whatever its prefix. `longest` caps a text, in
    characters. The document is UTF-8, with or without BOM and padding. Raises XmlError.
    """
    if len(document) > MAX_SIZE:
        raise XmlError(f"has {len(document)} bytes; the limit is {MAX_SIZE}")
    walk = _Walk(root, wanted, marks, longest)
    # The encoding is given, so that a document cannot choose one of Python's codecs; the separator turns name spaces on.
    parser = ParserCreate("utf-8", "}")
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = walk.doctype
    parser.StartElementHandler = walk.start
    parser.EndElementHandler = walk.end
    parser.CharacterDataHandler = walk.characters
    try:
        parser.Parse(document.removeprefix(b"\xef\xbb\xbf").strip(), True)
    except ExpatError as error:
        raise NotWellFormed(f"is not well-formed XML ({error})") from None
    return walk.found


class _Walk:
    def __init__(
        self, root: str, wanted: "tuple[str, ...]", marks: "tuple[str, ...]", longest: int
    ) -> None:
        self.found: "list[tuple[str, str | None]]" = []
        self._root = root
        self._wanted = wanted
        self._marks = marks
        self._longest = longest
        self._path: list[str] = []
        self._collecting = ""  # the wanted path whose text is being collected
        self._collecting_at = 0  # its depth
        self._text: "list[str] | None" = []

    def doctype(self, *_: object) -> None:
        raise XmlError("holds a DTD, which is never accepted")

    def start(self, name: str, _: object) -> None:
        if len(self._path) == MAX_DEPTH:
            raise XmlError(f"is nested more than {MAX_DEPTH} levels deep")
        if not self._path and name != self._root:
            raise XmlError(f"is something else: its root element is {name[:80]!r}")
        self._path.append(name)
        if self._collecting:
            self._text = None
            return
        path = "/".join(self._path)
        if path in self._marks:
            self.found.append((path, ""))
        elif path in self._wanted:
            self._collecting, self._collecting_at = path, len(self._path)
            self._text = []

    def end(self, _: str) -> None:
        if self._collecting and len(self._path) == self._collecting_at:
            text = None if self._text is None else "".join(self._text).strip()
            if text and len(text) > self._longest:
                raise XmlError(
                    f"has {len(text)} characters in {_local(self._collecting)}; the limit is {self._longest}"
                )
            self.found.append((self._collecting, text))
            self._collecting = ""
        self._path.pop()

    def characters(self, text: str) -> None:
        if self._collecting and self._text is not None:
            self._text.append(text)


def _local(path: str) -> str:
    """The last name of a path without its name space, for messages."""
    return path.rpartition("/")[2].rpartition("}")[2]
