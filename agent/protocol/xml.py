"""XML documents of the platform: the text of the wanted elements, in the order of the document.

Strategy: expat, the parser in CPython itself, walks the document once and keeps only the wanted
texts, so unknown elements cost nothing. DTDs are rejected, which rules out entity tricks. No
message repeats a text of the document: it may be secret.

The caps make the time linear in the size of any document. expat writes the URI of a name space out
in front of each name in it, so names and URIs are short. It looks at a tag only when that is
complete, so the document is handed over in pieces, and no tag may be longer than one. Names go into
hash tables of expat, so their number is capped in case the key of the hash is known; Python's own
table of names is switched off.
"""

from pyexpat import ExpatError, ParserCreate

from agent.errors import ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyexpat import XMLParserType

MAX_SIZE = 1024 * 1024  # bytes
MAX_DEPTH = 64
MAX_NAME = 256  # characters of a name with its name space
MAX_NAMES = 4096  # elements, attributes and declarations of name spaces
MAX_TAG = 16 * 1024  # bytes of a tag, comment or processing instruction
HINT = (
    "a web page or another document answered instead of the platform; is a proxy or captive portal "
    "in the way?"
)


_ENTER, _MARK, _COLLECT = 1, 2, 3


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
    most: int = MAX_SIZE,
    padded: "tuple[str, ...]" = (),
) -> "list[tuple[str, str | None]]":
    """Return (path, text) of every element whose path is in `wanted`, and (path, "") per mark.

    A path is the element names from `top` on, joined by "/". A name in a name space is
    `URI}local`, whatever its prefix. The text is stripped of padding, except for paths in `padded`.
    It is None where the element holds another element: then a caller who needs the text must reject
    the document. A mark is added where an element in `marks` starts. `longest` caps a text, in
    characters, and `most` the document, in bytes.

    The document is UTF-8; a BOM and padding are allowed. Raises XmlError.
    """
    if len(document) > most:
        raise XmlError(f"is {len(document)} bytes long; the limit is {most}")
    # The encoding is given, so that a document cannot choose one of Python's codecs; the separator
    # turns name spaces on; None turns Python's table of names off.
    parser = ParserCreate("utf-8", "}", None)
    walk = _Walk(parser, top, wanted, marks, longest, padded)
    parser.buffer_text = True
    parser.ordered_attributes = True
    parser.StartDoctypeDeclHandler = walk.doctype
    parser.StartNamespaceDeclHandler = walk.name_space
    parser.StartElementHandler = walk.start
    parser.EndElementHandler = walk.end
    document = document.removeprefix(b"\xef\xbb\xbf").strip()
    try:
        for at in range(0, len(document) or 1, MAX_TAG):
            end = at + MAX_TAG
            parser.Parse(document[at:end], end >= len(document))
            if end - parser.CurrentByteIndex > MAX_TAG and end < len(document):
                raise XmlError(f"has a tag or comment that is longer than {MAX_TAG} bytes")
    except ExpatError as error:
        raise NotWellFormed(f"is not well-formed XML ({error})") from None
    finally:
        del walk.parser  # they hold each other
    return walk.found


def is_page(document: bytes) -> bool:
    """Return whether `document` starts as HTML does, in any case (HTML Standard, 13.1.1)."""
    start = document[:200].removeprefix(b"\xef\xbb\xbf").lstrip()[:9].lower()
    return start.startswith((b"<!doctype", b"<html"))


class _Walk:
    def __init__(
        self,
        parser: "XMLParserType",
        top: str,
        wanted: "tuple[str, ...]",
        marks: "tuple[str, ...]",
        longest: int,
        padded: "tuple[str, ...]",
    ) -> None:
        self.found: "list[tuple[str, str | None]]" = []
        self.parser = parser
        self._top = top
        self._longest = longest
        self._padded = padded
        # Path -> what is done there; only what is wanted and what leads there is kept.
        self._known = dict.fromkeys(wanted, _COLLECT) | dict.fromkeys(marks, _MARK)
        for whole in (*wanted, *marks):
            path = whole.rpartition("/")[0]
            while path and path not in self._known:
                self._known[path] = _ENTER
                path = path.rpartition("/")[0]
        self._names = 0
        self._path: list[str] = []  # of each open element, "" if nothing wanted can be in it
        self._collecting = 0  # the depth of the wanted element whose text is being collected
        self._text: "list[str] | None" = None

    def doctype(self, *_: object) -> None:
        raise OtherDocument("holds a DTD")

    def name_space(self, _: object, uri: "str | None") -> None:
        self._count(uri or "", 1)

    def start(self, name: str, attributes: "list[str]") -> None:
        opened = self._path
        if len(opened) == MAX_DEPTH:
            raise XmlError(f"is nested more than {MAX_DEPTH} levels deep")
        if not opened and name != self._top:
            raise OtherDocument(f"has the root element {name[:80]!r}, not {self._top!r}")
        self._count(name, 1 + len(attributes) // 2)
        path = f"{opened[-1]}/{name}" if opened else name
        known = self._known.get(path)  # below what is not known, a path has no start
        opened.append(path if known else "")
        if self._collecting:
            self._collect(None)
        elif known == _MARK:
            self.found.append((path, ""))
        elif known == _COLLECT:
            self._collecting = len(self._path)
            self._collect([])

    def _collect(self, text: "list[str] | None") -> None:
        """Add the text that follows to `text`; without one, it is not looked at."""
        self._text = text
        self.parser.CharacterDataHandler = None if text is None else text.append

    def _count(self, name: str, names: int) -> None:
        if len(name) > MAX_NAME:
            raise XmlError(
                f"has a name of {len(name)} characters ({name[:40]!r}...); the limit is {MAX_NAME}"
            )
        self._names += names
        if self._names > MAX_NAMES:
            raise XmlError(f"has more than {MAX_NAMES} elements and attributes")

    def end(self, _: str) -> None:
        path = self._path.pop()
        if len(self._path) == self._collecting - 1:
            text = None if self._text is None else "".join(self._text)
            if text and path not in self._padded:
                text = text.strip()
            if text and len(text) > self._longest:
                raise XmlError(
                    f"has {len(text)} characters in {_local(path)}; the limit is {self._longest}"
                )
            self.found.append((path, text))
            self._collecting = 0
            self._collect(None)


def _local(path: str) -> str:
    """Return the last name of a path without its name space."""
    return path.rpartition("/")[2].rpartition("}")[2]
