"""What the platform may send at most: each cap holds for the last that fits, and says what is too much."""

import json

import pytest

from agent.protocol import goalstate, http1, imds, keys, ovf, xml
from tests.attacks import GOAL_STATE, fed

ROOT = 'Environment xmlns="http://schemas.dmtf.org/ovf/environment/1" xmlns:a="http://schemas.microsoft.com/windowsazure"'
FITS = "it has no ProvisioningSection"  # which is asked after everything was read


def environment(inside: str, attributes: str = "") -> bytes:
    return f"<{ROOT}{attributes}>{inside}</Environment>".encode()


@pytest.mark.parametrize(
    ("inside", "attributes", "says"),
    [
        (f"<{'a' * 1}/>", "", FITS),
        (f"<a xmlns=''><{'a' * 256}/></a>", "", FITS),
        (
            f"<a xmlns=''><{'a' * 257}/></a>",
            "",
            "has a name of 257 characters .'aaa.*'.*; the limit is 256",
        ),
        ("", f" xmlns:b='{'u' * 256}'", FITS),
        ("", f" xmlns:b='{'u' * 257}'", "has a name of 257 characters"),
        ("<b/>" * 4093, "", FITS),
        ("<b/>" * 4094, "", "has more than 4096 elements and attributes"),
        ("<b c='' d=''/>" * 1364, "", FITS),
        ("<b c='' d=''/>" * 1365, "", "has more than 4096 elements and attributes"),
        ("<!--" + "x" * 16000 + "-->", "", FITS),
        ("<!--" + "x" * 40000 + "-->", "", "has a tag or comment that is longer than 16384 bytes"),
        (
            "<b c='" + "x" * 40000 + "'/>",
            "",
            "has a tag or comment that is longer than 16384 bytes",
        ),
        ("x" * 900000, "", FITS),
        ("<![CDATA[" + "x" * 900000 + "]]>", "", FITS),
        ("\n\u20ac" * 200000, "", FITS),
    ],
)
def test_xml_is_capped(inside: str, attributes: str, says: str) -> None:
    with pytest.raises(ovf.OvfError, match=says):
        ovf.parse(environment(inside, attributes))


def test_a_long_text_comes_out_whole_wherever_it_is_cut_into_pieces() -> None:
    text = "".join(f"{number}\u20ac" for number in range(60000))
    for padding in range(4):
        document = f"<top><text>{' ' * padding}{text}</text></top>".encode()
        assert xml.texts(document, "top", ("top/text",), longest=xml.MAX_SIZE) == [
            ("top/text", text)
        ]


def test_a_goal_state_is_capped() -> None:
    room = goalstate.MAX_SIZE - len(GOAL_STATE) - 1
    whole = GOAL_STATE.replace(b"<GoalState", b" " * room + b"<GoalState", 1)
    assert goalstate.parse(whole).role_instances == 1
    with pytest.raises(goalstate.GoalStateError, match="is 65537 bytes long; the limit is 65536"):
        goalstate.parse(b"  " + whole)


def metadata(count: int, size: int) -> bytes:
    entry = {"keyData": "k" * size, "path": ""}
    return json.dumps({"compute": {"publicKeys": [entry] * count}}).encode()


def section(count: int, size: int) -> bytes:
    key = f"<a:PublicKey><a:Value>{'k' * size}</a:Value></a:PublicKey>"
    return environment(
        "<a:ProvisioningSection><a:LinuxProvisioningConfigurationSet><a:SSH><a:PublicKeys>"
        f"{key * count}</a:PublicKeys></a:SSH></a:LinuxProvisioningConfigurationSet></a:ProvisioningSection>"
    )


def test_ssh_keys_are_capped_in_number_and_length() -> None:
    for count, size in ((keys.MAX_KEYS, 1), (2, keys.MAX_TEXT)):
        assert len(imds.parse(metadata(count, size)).public_keys) == count
        assert len(ovf.parse(section(count, size)).public_keys) == count
    for count, size, says in (
        (257, 1, "257 SSH keys; the limit is 256"),
        (1, 16385, "an SSH key of 16385 characters; the limit is 16384"),
    ):
        with pytest.raises(imds.MetadataError, match=f"^invalid IMDS .*publicKeys: {says}$"):
            imds.parse(metadata(count, size))
        with pytest.raises(ovf.OvfError, match=f"it holds {says}$"):
            ovf.parse(section(count, size))


@pytest.mark.parametrize("part", ['"a{}":0', "[]", "{}"])
def test_the_parts_of_instance_metadata_are_capped(part: str) -> None:
    def parts(count: int) -> bytes:
        inside = ",".join(part.format(number) if ":" in part else part for number in range(count))
        return (f"{{{inside}}}" if ":" in part else f'{{"a":[{inside}]}}').encode()

    around = 1 if ":" in part else 3
    imds.parse(parts(imds.MAX_PARTS - around))
    with pytest.raises(imds.MetadataError, match="4097 keys and brackets; the limit is 4096"):
        imds.parse(parts(imds.MAX_PARTS - around + 1))


def test_header_lines_are_capped_those_of_interim_answers_included() -> None:
    first = b"HTTP/1.1 200 OK\n"
    chunked = b"Transfer-Encoding: chunked\n\n0\n"
    fed(first + b"a: b\n" * 100 + b"\n")
    fed(first + chunked + b"a: b\n" * 9000 + b"\n")  # trailers are not kept
    for data in (
        first + b"a: b\n" * 101,
        b"HTTP/1.1 100 \na: b\n\n" * 100 + first + b"a: b\n",
    ):
        with pytest.raises(http1.HttpError, match="has more than 100 header lines"):
            fed(data)


def test_a_long_reason_is_shortened() -> None:
    response = http1.ResponseReader().feed(
        b"HTTP/1.1 200 " + b"x" * 60000 + b"\nContent-Length: 0\n\n"
    )
    assert response is not None
    assert response.reason == "x" * 100
