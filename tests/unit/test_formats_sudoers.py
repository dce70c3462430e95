"""Rules of sudo and doas."""

import pytest

from agent.formats import sudoers


def test_a_sudo_rule() -> None:
    assert sudoers.sudo_line("ann", True) == '"ann" ALL=(ALL:ALL) NOPASSWD: ALL\n'
    assert sudoers.sudo_line("ann", False) == '"ann" ALL=(ALL:ALL) ALL\n'


def test_a_doas_rule() -> None:
    assert sudoers.doas_line("ann", True) == 'permit nopass "ann"\n'
    assert sudoers.doas_line("ann", False) == 'permit "ann"\n'


@pytest.mark.parametrize(
    ("content", "includes"),
    [
        (b"root ALL=(ALL:ALL) ALL\n@includedir /etc/sudoers.d\n", True),
        (b"#includedir\t/etc/sudoers.d\n", True),
        (b"# @includedir /etc/sudoers.d\n", False),
        (b"@includedir /etc/other.d\n", False),
        (b"@include /etc/sudoers.d\n", False),
        (b"\xff\n", False),
        (b"", False),
    ],
)
def test_whether_sudo_reads_drop_ins(content: bytes, includes: bool) -> None:
    assert sudoers.includes_drop_ins(content) is includes
