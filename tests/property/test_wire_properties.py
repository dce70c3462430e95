"""ovf-env.xml, key-value pools and netlink: what goes in comes out, and junk is a ProtocolError."""

from xml.sax.saxutils import escape

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from agent.errors import ProtocolError
from agent.protocol import kvp, netlink, ovf
from scripts.simulator.media import ovf_env
from scripts.simulator.scenario import VM

XML_TEXT = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), max_size=40
).map(str.strip)


@given(XML_TEXT, XML_TEXT, XML_TEXT, XML_TEXT)
def test_every_value_of_ovf_env_comes_out_as_it_went_in(
    name: str, user: str, password: str, key: str
) -> None:
    environment = ovf.parse(
        ovf_env(
            VM(
                computer_name=name,
                admin_username=user,
                password=password,
                public_keys=(key,),
                key_path="/p",
            )
        )
    )
    assert (environment.host_name, environment.user_name, environment.password) == (
        name,
        user,
        password,
    )
    assert [(entry.key_data, entry.path) for entry in environment.public_keys] == [(key, "/p")]


@given(st.binary(max_size=300))
def test_junk_is_no_ovf_env(data: bytes) -> None:
    with pytest.raises(ovf.OvfError, match=r"parsing ovf-env\.xml"):
        ovf.parse(data)


@given(
    st.integers(0, 3000), st.integers(0, 255), st.text("abcdefghijklmnop", min_size=12, max_size=20)
)
def test_a_broken_document_never_shows_the_password(at: int, byte: int, password: str) -> None:
    document = bytearray(ovf_env(VM(password=password)))
    document[at % len(document)] = byte
    try:
        ovf.parse(bytes(document))
    except ProtocolError as error:
        assert password[1:-1] not in str(error)


@given(XML_TEXT, XML_TEXT)
def test_prefixes_do_not_count_and_name_spaces_do(prefix_text: str, value: str) -> None:
    text = ovf_env(VM(computer_name=value)).decode()
    assert (
        ovf.parse(text.replace("ns1:", "wa:").replace("xmlns:ns1", "xmlns:wa").encode()).host_name
        == value
    )
    assume("windowsazure" not in escape(value))
    with pytest.raises(ovf.OvfError, match="no ProvisioningSection"):
        ovf.parse(text.replace("http://schemas.microsoft.com/windowsazure", "urn:other").encode())


@given(st.lists(st.tuples(st.text(max_size=300), st.text(max_size=1200)), max_size=4))
def test_a_pool_gives_back_keys_and_values_up_to_what_the_host_reads(
    pairs: list[tuple[str, str]],
) -> None:
    pool = b"".join(kvp.record(key, value) for key, value in pairs)
    assert len(pool) == len(pairs) * kvp.RECORD_SIZE
    for (key, value), (found_key, found_value) in zip(pairs, kvp.parse(pool), strict=True):
        for text, found, limit in (
            (key, found_key, kvp.MAX_KEY),
            (value, found_value, kvp.MAX_VALUE),
        ):
            clean = text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
            assert clean.startswith(found)
            assert limit - 4 < len(found.encode()) <= limit or found == clean


@given(st.binary(max_size=3000))
def test_junk_is_no_pool_or_is_read(data: bytes) -> None:
    try:
        kvp.parse(data)
    except kvp.KvpError:
        return
    assert len(data) % kvp.RECORD_SIZE == 0


@given(st.text(max_size=600), st.text("0123456789abcdef-", max_size=36))
def test_a_failure_keeps_all_its_fields_whatever_the_reason(reason: str, vm_id: str) -> None:
    text = kvp.error(reason, kvp.source("azready/1.0", "2026-01-01T00:00:00Z", vm_id, ""))
    assert "\n" not in text
    assert text.startswith("result=error|")
    assert text.endswith(
        f"|agent=azready/1.0|pps_type=None|vm_id={vm_id}|timestamp=2026-01-01T00:00:00Z"
        "|documentation_url=https://aka.ms/linuxprovisioningerror"
    )


@given(st.binary(max_size=200))
def test_any_bytes_are_a_dump_or_an_error(data: bytes) -> None:
    try:
        netlink.parse(data)
    except netlink.NetlinkError:
        return


@given(st.binary(max_size=120), st.sampled_from([16, 20, 24]))
def test_any_body_of_a_known_message_is_read_or_an_error(body: bytes, kind: int) -> None:
    data = (16 + len(body)).to_bytes(4, "little") + kind.to_bytes(2, "little") + bytes(10) + body
    try:
        netlink.parse(data)
    except netlink.NetlinkError:
        return
