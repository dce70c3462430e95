"""Key-value pools, netlink dumps, ovf-env.xml and helper programs: the cases that have names."""

import os
import pathlib
import struct
import time

import pytest

from agent.azure import network
from agent.errors import GuestError
from agent.guest import hyperv, payload, programs
from agent.protocol import kvp, netlink, ovf
from agent.root import Root
from scripts.simulator.media import ovf_env
from scripts.simulator.scenario import VM
from tests.conftest import Lines


def pool(root: pathlib.Path) -> pathlib.Path:
    place = root / "var/lib/hyperv/.kvp_pool_1"
    place.parent.mkdir(parents=True, exist_ok=True)
    return place


def test_without_a_pool_nothing_is_written(tmp_path: pathlib.Path) -> None:
    assert not hyperv.write_report(Root(str(tmp_path)), "x")
    assert list(tmp_path.iterdir()) == []


def test_an_earlier_report_is_replaced_and_other_records_stay(tmp_path: pathlib.Path) -> None:
    place = pool(tmp_path)
    place.write_bytes(
        kvp.record("A", "1") + kvp.record(kvp.REPORT_KEY, "old") + kvp.record("B", "2")
    )
    assert hyperv.write_report(Root(str(tmp_path)), "new")
    assert kvp.parse(place.read_bytes()) == [("A", "1"), (kvp.REPORT_KEY, "new"), ("B", "2")]


def test_half_a_record_at_the_end_is_cut_off(tmp_path: pathlib.Path) -> None:
    place = pool(tmp_path)
    place.write_bytes(kvp.record("A", "1") + b"half")
    hyperv.write_report(Root(str(tmp_path)), "new")
    assert kvp.parse(place.read_bytes()) == [("A", "1"), (kvp.REPORT_KEY, "new")]


def test_a_pool_from_before_this_boot_is_emptied(tmp_path: pathlib.Path) -> None:
    place = pool(tmp_path)
    place.write_bytes(kvp.record("A", "1"))
    before = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) - 60
    os.utime(place, (before, before))
    hyperv.write_report(Root(str(tmp_path)), "new")
    assert kvp.parse(place.read_bytes()) == [(kvp.REPORT_KEY, "new")]


def test_both_kinds_of_locks_are_waited_for(tmp_path: pathlib.Path) -> None:
    import fcntl

    for lock in (
        lambda fd: fcntl.flock(fd, fcntl.LOCK_EX),
        lambda fd: fcntl.lockf(fd, fcntl.LOCK_EX),
    ):
        place = pool(tmp_path)
        place.write_bytes(b"")
        ready, go = os.pipe()
        child = os.fork()
        if child == 0:
            fd = os.open(place, os.O_RDWR)
            lock(fd)
            os.write(go, b"x")
            time.sleep(0.3)
            os.write(fd, kvp.record("HELD", "by the child"))
            os._exit(0)
        os.read(ready, 1)
        hyperv.write_report(Root(str(tmp_path)), "after")
        os.waitpid(child, 0)
        assert [key for key, _ in kvp.parse(place.read_bytes())] == ["HELD", kvp.REPORT_KEY]


def test_a_lock_that_is_never_released_is_given_up(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    monkeypatch.setattr(hyperv, "LOCK_LIMIT", 0.1)
    place = pool(tmp_path)
    with open(place, "wb") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        with pytest.raises(GuestError, match=r"cannot write .*: resource temporarily unavailable"):
            hyperv.write_report(Root(str(tmp_path)), "x")


def test_a_link_in_the_place_of_the_pool_is_not_written_through(tmp_path: pathlib.Path) -> None:
    place = pool(tmp_path)
    (tmp_path / "victim").write_text("kept")
    place.symlink_to("/victim")
    hyperv.write_report(Root(str(tmp_path)), "x")  # inside the root, where the link leads
    assert kvp.parse((tmp_path / "victim").read_bytes())


def test_characters_are_never_cut() -> None:
    for text in ("é" * 2000, "a" + "é" * 2000, "名" * 2000, "😀" * 600):
        ((key, value),) = kvp.parse(kvp.record(text, text))
        assert text.startswith(key)
        assert text.startswith(value)
        assert kvp.MAX_VALUE - 3 <= len(value.encode()) <= kvp.MAX_VALUE


def test_a_row_quotes_what_it_must() -> None:
    text = kvp.error('disk "a|b"\nfull', "azready/1", "T", "id")
    assert (
        text
        == 'result=error|"reason=disk ""a|b"" full"|agent=azready/1|vm_id=id|timestamp=T|documentation_url=https://aka.ms/linuxprovisioningerror'
    )
    assert (
        kvp.success("azready/1", "T", "id", ("a=b",))
        == "result=success|agent=azready/1|timestamp=T|vm_id=id|a=b"
    )


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("</ns0:Environment>", "", "error parsing ovf-env.xml: it is not well-formed XML"),
        (
            "ns0:Environment",
            "ns0:Other",
            "unexpected metadata parsing ovf-env.xml: it is something else: its root element is",
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


def test_the_kernel_tells_its_links_addresses_and_routes() -> None:
    links, addresses, _ = network.survey()
    loopback = next(link for link in links if link.name == "lo")
    assert loopback.up
    assert ("127.0.0.1", 8) in [
        (network.text(address.packed), address.prefix)
        for address in addresses
        if address.index == loopback.index
    ]


def test_a_default_route_is_read() -> None:
    attributes = struct.pack("=HHIHHI", 8, 4, 2, 8, 5, 0x0100000A)
    body = struct.pack("=BBBBBBBBI", 2, 0, 0, 0, 254, 3, 0, 1, 0) + attributes
    message = struct.pack("=IHHII", 16 + len(body), 24, 0, 1, 0) + body
    (route,), complete = netlink.parse(message)
    assert isinstance(route, netlink.Route)
    assert (route.destination, route.prefix, route.gateway, route.index, complete) == (
        b"",
        0,
        b"\x0a\x00\x00\x01",
        2,
        False,
    )
    assert netlink.parse(struct.pack("=IHHII", 20, 3, 0, 1, 0) + bytes(4)) == ([], True)
    with pytest.raises(netlink.NetlinkError, match="refused a netlink request with error 1"):
        netlink.parse(struct.pack("=IHHIIi", 20, 2, 0, 1, 0, -1))


def test_a_program_gets_its_input_and_its_output_is_kept() -> None:
    pieces: list[bytes] = []
    result = programs.run(
        ["/bin/sh", "-c", "cat; echo err >&2; exit 3"], stdin=b"in\n", on_output=pieces.append
    )
    assert (result.code, result.output) == (3, "in\nerr\n")
    assert b"".join(pieces) == b"in\nerr\n"
    assert str(result) == "ended with 3 and said 'in err'"


def test_a_program_sees_none_of_our_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "x")
    assert set(programs.run(["/usr/bin/env"]).output.split("=")[0:1]) <= {"PATH", "LC_ALL", "HOME"}
    assert "SECRET" not in programs.run(["/usr/bin/env"]).output


def test_a_program_that_hangs_is_killed_with_all_it_started(tmp_path: pathlib.Path) -> None:
    started = time.monotonic()
    with pytest.raises(GuestError, match=r"/bin/sh did not end within 0\.3 s and was killed"):
        programs.run(["/bin/sh", "-c", f"(sleep 2; touch {tmp_path}/late) & sleep 30"], limit=0.3)
    assert time.monotonic() - started < 2
    time.sleep(max(0.0, 2.2 - (time.monotonic() - started)))
    assert not (tmp_path / "late").exists()


def test_what_a_program_leaves_in_the_background_is_not_waited_for() -> None:
    started = time.monotonic()
    result = programs.run(["/bin/sh", "-c", "sleep 5 & echo done"])
    assert (result.code, result.output) == (0, "done\n")
    assert time.monotonic() - started < 3


def test_output_is_capped() -> None:
    result = programs.run(["/bin/sh", "-c", "head -c 1000000 /dev/zero | tr '\\0' x"])
    assert len(result.output) == programs.MAX_OUTPUT


def test_a_program_that_is_not_there_is_an_error() -> None:
    with pytest.raises(GuestError, match="cannot run /no/such: no such file or directory"):
        programs.run(["/no/such"])


def test_programs_of_another_root_are_seen_and_not_used(tmp_path: pathlib.Path) -> None:
    (tmp_path / "usr/sbin").mkdir(parents=True)
    program = tmp_path / "usr/sbin/useradd"
    program.write_text("")
    assert programs.find(Root(str(tmp_path)), "useradd") == ""  # not executable
    program.chmod(0o755)
    assert programs.find(Root(str(tmp_path)), "useradd") == "/usr/sbin/useradd"
    assert programs.usable(Root(str(tmp_path)), "useradd") == ""
    assert programs.usable(Root(), "sh")


def test_customdata_of_another_root_is_not_run(tmp_path: pathlib.Path, log: Lines) -> None:
    payload.save(Root(str(tmp_path)), "/state/customdata", b"#!/bin/sh\n")
    assert oct((tmp_path / "state/customdata").stat().st_mode & 0o777) == "0o600"
    with pytest.raises(GuestError, match="only on the machine itself"):
        payload.run_once(Root(str(tmp_path)), "/state/customdata", "id", 5, log)
    payload.save(Root(str(tmp_path)), "/state/customdata", b"#cloud-config\n")
    assert payload.run_once(Root(str(tmp_path)), "/state/customdata", "id", 5, log) is None
    assert "is no script" in log.lines[-1]
