"""Instance metadata documents."""

import json

import pytest

from agent.protocol.imds import MAX_SIZE, MetadataError, parse


def test_all_that_provisioning_uses() -> None:
    metadata = parse(
        json.dumps(
            {
                "compute": {
                    "name": "vmss_0",
                    "vmId": "ID",
                    "userData": "aGk=",
                    "osProfile": {
                        "computerName": "web",
                        "adminUsername": "joe",
                        "disablePasswordAuthentication": "true",
                    },
                    "publicKeys": [
                        {"keyData": "ssh-rsa AA\r\n", "path": "/home/joe/.ssh/authorized_keys"},
                        {},
                    ],
                },
                "extended": {"compute": {"hasCustomData": True, "ppsType": "None"}},
            }
        ).encode()
    )
    assert (
        metadata.computer_name,
        metadata.name,
        metadata.vm_id,
        metadata.admin_username,
        metadata.user_data,
    ) == ("web", "vmss_0", "ID", "joe", "aGk=")
    assert metadata.disable_password is True
    assert metadata.has_custom_data is True
    assert metadata.pps_type == "None"
    assert [(key.key_data, key.path) for key in metadata.public_keys] == [
        ("ssh-rsa AA\r\n", "/home/joe/.ssh/authorized_keys"),
        ("", ""),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        '{"compute": {}}',
        '{"compute": {"osProfile": null, "publicKeys": ""}}',
        '{"compute": {"osProfile": ""}, "extended": ""}',
        "\ufeff{}",
    ],
)
def test_absent_and_empty_values_say_nothing(text: str) -> None:
    metadata = parse(text.encode())
    assert (metadata.computer_name, metadata.name, metadata.public_keys) == ("", "", ())
    assert metadata.disable_password is None
    assert metadata.has_custom_data is None


@pytest.mark.parametrize(
    ("value", "truth"),
    [(True, True), (False, False), ("true", True), ("False", False), ("", None), (None, None)],
)
def test_booleans_come_as_strings_or_as_themselves(value: object, truth: bool | None) -> None:
    metadata = parse(
        json.dumps({"compute": {"osProfile": {"disablePasswordAuthentication": value}}}).encode()
    )
    assert metadata.disable_password is truth


@pytest.mark.parametrize(
    ("document", "key"),
    [
        ({"compute": []}, "compute"),
        ({"compute": "text"}, "compute"),
        ({"compute": {"name": 5}}, "compute.name"),
        ({"compute": {"osProfile": [1]}}, "compute.osProfile"),
        ({"compute": {"osProfile": {"computerName": {}}}}, "compute.osProfile.computerName"),
        (
            {"compute": {"osProfile": {"disablePasswordAuthentication": "maybe"}}},
            "compute.osProfile.disablePasswordAuthentication",
        ),
        (
            {"compute": {"osProfile": {"disablePasswordAuthentication": 1}}},
            "compute.osProfile.disablePasswordAuthentication",
        ),
        ({"compute": {"publicKeys": {}}}, "compute.publicKeys"),
        ({"compute": {"publicKeys": ["x"]}}, "compute.publicKeys"),
        ({"compute": {"publicKeys": [{"keyData": 1}]}}, "compute.publicKeys.keyData"),
    ],
)
def test_wrong_types_are_named_by_their_key(document: object, key: str) -> None:
    with pytest.raises(MetadataError, match=rf"^invalid IMDS metadata for key={key}: "):
        parse(json.dumps(document).encode())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"null",
        b"{} {}",
        b"<html>",
        b'{"a":',
        b"\xff",
        b"[" * 100000,
        b"1" * 5000,
        b'"' + b"x" * MAX_SIZE + b'"',
    ],
)
def test_anything_but_a_json_object_is_a_metadata_error(data: bytes) -> None:
    with pytest.raises(MetadataError, match=r"^error parsing IMDS metadata"):
        parse(data)


def test_private_values_stay_out_of_messages() -> None:
    with pytest.raises(MetadataError) as caught:
        parse(b'{"compute": {"publicKeys": ["secret-value"]}}')
    assert "secret-value" not in str(caught.value)


@pytest.mark.parametrize("page", [b"<!DOCTYPE html><html>", b"<!doctype html><p>", b" <HTML><br>"])
def test_a_web_page_asks_for_a_proxy(page: bytes) -> None:
    with pytest.raises(
        MetadataError, match=r"^error parsing IMDS metadata: .*is a proxy or captive portal"
    ):
        parse(page)
