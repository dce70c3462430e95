"""ovf-env.xml as the platform writes it, and as it must not be."""

import pytest

from agent.protocol import ovf
from scripts.simulator.media import ovf_env
from scripts.simulator.scenario import VM


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("</ns0:Environment>", "", "error parsing ovf-env.xml: it is not well-formed XML"),
        (
            "ns0:Environment",
            "ns0:Other",
            "unexpected metadata parsing ovf-env.xml: it has the root element",
        ),
        (
            "ProvisioningSection>",
            "OtherSection>",
            "unexpected metadata parsing ovf-env.xml: it has no ProvisioningSection",
        ),
        ("<ns1:HostName>", "<ns1:HostName><x/>", "it holds an element where text belongs"),
        (
            ">true</ns1:Disable",
            ">perhaps</ns1:Disable",
            "DisableSshPasswordAuthentication is neither true nor false",
        ),
        ("<?xml", "<!DOCTYPE a []><?xml", "ovf-env.xml"),
    ],
)
def test_an_ovf_env_that_cannot_be_used_says_why(old: str, new: str, says: str) -> None:
    with pytest.raises(ovf.OvfError) as caught:
        ovf.parse(ovf_env(VM(password="not to be shown")).replace(old.encode(), new.encode()))
    assert says in str(caught.value)
    assert "not to be shown" not in str(caught.value)


def test_a_dtd_is_refused() -> None:
    document = ovf_env(VM()).replace(
        b"<ns0:Environment", b'<!DOCTYPE x [<!ENTITY a "b">]><ns0:Environment', 1
    )
    with pytest.raises(ovf.OvfError, match="holds a DTD"):
        ovf.parse(document)


@pytest.mark.parametrize("name", ["UserPassword", "AdminPassword", "adminPassword"])
def test_all_names_of_the_password_count(name: str) -> None:
    assert (
        ovf.parse(ovf_env(VM(password="x")).replace(b"UserPassword", name.encode())).password == "x"
    )


def test_a_key_without_value_is_a_key_without_value() -> None:
    document = ovf_env(VM(public_keys=("k",))).replace(b"<ns1:Value>k</ns1:Value>", b"")
    assert [(key.key_data, key.path) for key in ovf.parse(document).public_keys] == [
        ("", "/home/azureuser/.ssh/authorized_keys")
    ]


def test_a_document_is_shown_without_its_secrets() -> None:
    shown = repr(ovf.parse(ovf_env(VM(password="hunter2", custom_data="secret"))))
    assert "user_name='azureuser'" in shown
    assert "hunter2" not in shown
    assert "custom_data" not in shown
