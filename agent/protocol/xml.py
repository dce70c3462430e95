"""XML documents of the platform: the text of the wanted elements, in the order of the document.

Strategy: expat, the parser in CPython itself, walks the document once and keeps only the wanted
texts, so unknown elements cost nothing. DTDs are rejected, which rules out entity tricks. Size,
depth and the length of a text are capped. No message repeats a text of the document: it may be
secret.
"""

from pyexpat import ExpatError, ParserCreate

from agent.errors import ProtocolError

MAX_SIZE = 1024 * 1024  # bytes
MAX_DEPTH = 64
HINT = (
    "a web page or another document answered instead of the platform; is a proxy or captive portal "
    "in the way?"
)


class XmlError(ProtocolError):
    """The document cannot be used; the text reads on after the document's name."""


class NotWellFormed(XmlError):
    """The document is not XML."""


class OtherDocument(XmlError):
    """The document is not of the wanted kind: it holds a DTD or has another root element."""


def texts(
    document: bytes,
    top: str,
    wanted: "tuple[str, ...]",
    marks: "tuple[str, ...]" = (),
    longest: int = 4096,
) -> "list[tuple[str, str | None]]":
    """Return (path, text) of every element whose path is in `wanted`, and (path, "") per mark.

    A path is the element names from `top` on, joined by "/". A name in a name space is
    `URI}local`, whatever its prefix. The text is stripped of padding; `longest` caps it, in
    characters. It is None where the element holds another element: then a caller who needs the text
    must reject the document. A mark is added where an element in `marks` starts.

    The document is UTF-8; a BOM and padding are allowed. Raises XmlError.
    """
    if len(document) > MAX_SIZE:
        raise XmlError(f"is {len(document)} bytes long; the limit is {MAX_SIZE}")
    walk = _Walk(top, wanted, marks, longest)
    # The encoding is given, so that a document cannot choose one of Python's codecs; the separator
    # turns name spaces on.
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


def is_page(document: bytes) -> bool:
    """Return whether `document` starts as HTML does, in any case (HTML Standard, 13.1.1)."""
    start = document[:200].removeprefix(b"\xef\xbb\xbf").lstrip()[:9].lower()
    return start.startswith((b"<!doctype", b"<html"))


class _Walk:
    def __init__(
        self, top: str, wanted: "tuple[str, ...]", marks: "tuple[str, ...]", longest: int
    ) -> None:
        self.found: "list[tuple[str, str | None]]" = []
        self._top = top
        self._wanted = wanted
        self._marks = marks
        self._longest = longest
        self._path: list[str] = []
        self._collecting = ""  # the wanted path whose text is being collected
        self._collecting_at = 0  # its depth
        self._text: "list[str] | None" = []

    def doctype(self, *_: object) -> None:
        raise OtherDocument("holds a DTD")

    def start(self, name: str, _: object) -> None:
        if len(self._path) == MAX_DEPTH:
            raise XmlError(f"is nested more than {MAX_DEPTH} levels deep")
        if not self._path and name != self._top:
            raise OtherDocument(f"has the root element {name[:80]!r}, not {self._top!r}")
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
                    f"has {len(text)} characters in {_local(self._collecting)}; "
                    f"the limit is {self._longest}"
                )
            self.found.append((self._collecting, text))
            self._collecting = ""
        self._path.pop()

    def characters(self, text: str) -> None:
        if self._collecting and self._text is not None:
            self._text.append(text)


def _local(path: str) -> str:
    """Return the last name of a path without its name space."""
    return path.rpartition("/")[2].rpartition("}")[2]
