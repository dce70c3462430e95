"""Replaces the package encodings inside the static file: UTF-8 and no other codec.

The interpreter imports it before anything else, to create its standard streams. str.encode() and
bytes.decode() handle UTF-8, ASCII and Latin-1 without any codec.
"""

import _codecs


class _CodecInfo(tuple):
    """A stand-in for codecs.CodecInfo: (encode, decode, None, None) with attributes."""

    __slots__ = ()
    name = "utf-8"
    _is_text_encoding = True


class _Encoder:
    def __init__(self, errors="strict"):
        self.errors = errors

    def encode(self, text, final=False):
        return _codecs.utf_8_encode(text, self.errors)[0]

    def reset(self):
        pass

    def getstate(self):
        return 0

    def setstate(self, state):
        pass


class _Decoder:
    def __init__(self, errors="strict"):
        self.errors = errors
        self.rest = b""

    def decode(self, data, final=False):
        text, used = _codecs.utf_8_decode(self.rest + data, self.errors, final)
        self.rest = (self.rest + data)[used:]
        return text

    def reset(self):
        self.rest = b""

    def getstate(self):
        return self.rest, 0

    def setstate(self, state):
        self.rest = state[0]


def _decode(data, errors="strict"):
    return _codecs.utf_8_decode(data, errors, True)


_CodecInfo.incrementalencoder = _Encoder
_CodecInfo.incrementaldecoder = _Decoder
_UTF_8 = _CodecInfo((_codecs.utf_8_encode, _decode, None, None))


def _search(name):
    return _UTF_8 if name.replace("_", "-") in ("utf-8", "utf8") else None


_codecs.register(_search)
