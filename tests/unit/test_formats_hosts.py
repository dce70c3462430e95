"""Host names and /etc/hosts."""

import pytest

from agent.formats import hosts


@pytest.mark.parametrize(
    ("name", "valid"),
    [
        ("web-1", "web-1"),
        ("Web.Example.COM", "Web.Example.COM"),
        ("my_vm", "my-vm"),
        (" web ", "web"),
        ("-web-", "web"),
        ("a..b.", "a.b"),
        ("büro", "b-ro"),
        ("名前", ""),
        ("...", ""),
        ("", ""),
        ("x" * 70, "x" * 63),
        ("x" * 62 + "_" * 5, "x" * 62),
        (f"{'a' * 63}.b", "a" * 63),
        (f"web-1.{'a' * 40}.{'b' * 20}", "web-1"),  # 66 characters
        (f"web-1.{'a' * 40}.{'b' * 17}", f"web-1.{'a' * 40}.{'b' * 17}"),  # 64
    ],
)
def test_a_name_is_sanitised_to_the_nearest_valid_one(name: str, valid: str) -> None:
    assert hosts.sanitise(name) == valid


@pytest.mark.parametrize(
    ("candidates", "chosen"),
    [
        (("web", "other"), ("web", "web")),
        (("", "my_vm"), ("my-vm", "my_vm")),
        (("名前", "b"), ("b", "b")),
        (("", "名前"), ("", "名前")),
        (("", ""), ("", "")),
        ((), ("", "")),
    ],
)
def test_the_first_usable_candidate_is_chosen(
    candidates: tuple[str, ...], chosen: tuple[str, str]
) -> None:
    assert hosts.choose(candidates) == chosen


@pytest.mark.parametrize(
    ("content", "after"),
    [
        (b"127.0.0.1 localhost\n", b"127.0.0.1 localhost\n127.0.1.1\tweb\n"),
        (b"127.0.0.1 localhost", b"127.0.0.1 localhost\n127.0.1.1\tweb\n"),
        (b"", b"127.0.1.1\tweb\n"),
        (b"127.0.1.1 old.example old db # note\n", b"127.0.1.1\tweb db # note\n"),
        (b"127.0.1.1 old\n10.0.0.1 old\n", b"127.0.1.1\tweb\n10.0.0.1 old\n"),
        (b"127.0.1.1 other\n", b"127.0.1.1 other\n127.0.1.1\tweb\n"),
        (b"10.0.0.1 web\n# 127.0.0.1 web\n", b"10.0.0.1 web\n# 127.0.0.1 web\n127.0.1.1\tweb\n"),
    ],
)
def test_a_loopback_line_names_the_host(content: bytes, after: bytes) -> None:
    old = "old.example" if b"old.example" in content else "old"
    assert hosts.with_name(content, "web", old) == after


@pytest.mark.parametrize(
    "content", [b"127.0.0.1 localhost web\n", b"::1 web", b"127.9.9.9\tweb #x"]
)
def test_a_hosts_file_that_names_the_host_is_kept(content: bytes) -> None:
    assert hosts.with_name(content, "web", "old") == content


def test_a_name_with_a_domain_comes_with_its_first_label() -> None:
    assert hosts.with_name(b"", "web.example", "") == b"127.0.1.1\tweb.example web\n"


def test_a_new_hosts_file_names_localhost_and_the_host() -> None:
    assert hosts.with_name(hosts.NEW, "web", "").decode().splitlines() == [
        "127.0.0.1\tlocalhost",
        "::1\tlocalhost ip6-localhost ip6-loopback",
        "127.0.1.1\tweb",
    ]


@pytest.mark.parametrize(
    ("content", "after"),
    [
        (b"127.0.1.1\tweb.example web\n", b""),
        (b"127.0.1.1 web.example web db\n", b"127.0.1.1\tdb\n"),
        (
            b"127.0.1.1 other\n10.0.0.1 web.example\n\n",
            b"127.0.1.1 other\n10.0.0.1 web.example\n\n",
        ),
    ],
)
def test_the_name_is_removed_from_its_own_line_only(content: bytes, after: bytes) -> None:
    assert hosts.without_name(content, "web.example") == after
