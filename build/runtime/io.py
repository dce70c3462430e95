"""Replaces io inside the static file: the names of the C module.

The standard module builds abstract base classes at every start; this one does not.
"""

from _io import (
    DEFAULT_BUFFER_SIZE,
    BlockingIOError,
    BufferedRandom,
    BufferedReader,
    BufferedRWPair,
    BufferedWriter,
    BytesIO,
    FileIO,
    IncrementalNewlineDecoder,
    StringIO,
    TextIOWrapper,
    UnsupportedOperation,
    _BufferedIOBase as BufferedIOBase,
    _IOBase as IOBase,
    _RawIOBase as RawIOBase,
    _TextIOBase as TextIOBase,
    open,
    open_code,
    text_encoding,
)

SEEK_SET, SEEK_CUR, SEEK_END = 0, 1, 2
