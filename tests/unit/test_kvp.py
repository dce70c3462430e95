"""Records of key-value pools, and the reports in them."""

import pytest

from agent.protocol import kvp


def test_characters_are_never_cut() -> None:
    for text in ("é" * 2000, "a" + "é" * 2000, "名" * 2000, "😀" * 600):
        ((key, value),) = kvp.parse(kvp.record(text, text))
        assert text.startswith(key)
        assert text.startswith(value)
        assert kvp.MAX_VALUE - 3 <= len(value.encode()) <= kvp.MAX_VALUE


def test_a_row_quotes_what_it_must() -> None:
    source = kvp.source("azready/1", "T", "id", "")
    assert kvp.error('disk "a|b"\nfull', source) == (
        'result=error|"reason=disk ""a|b"" full"|agent=azready/1|pps_type=None|vm_id=id'
        "|timestamp=T|documentation_url=https://aka.ms/linuxprovisioningerror"
    )
    source = kvp.source("azready/1", "T", "id", "Running")
    assert kvp.success(source, ("a=b",)) == (
        "result=success|agent=azready/1|pps_type=Running|vm_id=id|timestamp=T|a=b"
    )


def test_the_fields_of_a_row_are_what_went_into_it() -> None:
    source = kvp.source("azready/1", "T", "id", "")
    found = kvp.fields(kvp.error('disk "a|b" full', source))
    assert found == {
        "result": "error",
        "reason": 'disk "a|b" full',
        "agent": "azready/1",
        "pps_type": "None",
        "vm_id": "id",
        "timestamp": "T",
        "documentation_url": "https://aka.ms/linuxprovisioningerror",
    }
    assert kvp.fields("") == {"": ""}
    assert kvp.fields('a=1|"b=never closed|c=2') == {"a": "1"}


def test_a_pool_that_is_not_one_is_an_error() -> None:
    assert kvp.parse(b"") == []
    with pytest.raises(kvp.KvpError, match="3 bytes long, not a multiple of 2560"):
        kvp.parse(b"abc")
    with pytest.raises(kvp.KvpError, match="not UTF-8"):
        kvp.parse(b"\xff" * kvp.RECORD_SIZE)
