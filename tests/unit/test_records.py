"""Key-value pool files, and the kernel's network."""

import os
import pathlib
import time

import pytest

from agent.errors import GuestError
from agent.machine import network
from agent.protocol import kvp
from agent.root import Root
from agent.steps import kvp as step


def pool(root: pathlib.Path) -> pathlib.Path:
    place = root / "var/lib/hyperv/.kvp_pool_1"
    place.parent.mkdir(parents=True, exist_ok=True)
    return place


def test_without_a_pool_nothing_is_written(tmp_path: pathlib.Path) -> None:
    assert not step.has_pool(Root(str(tmp_path)))
    assert list(tmp_path.iterdir()) == []


def test_an_earlier_report_is_replaced_and_other_records_stay(tmp_path: pathlib.Path) -> None:
    place = pool(tmp_path)
    place.write_bytes(
        kvp.record("A", "1") + kvp.record(kvp.REPORT_KEY, "old") + kvp.record("B", "2")
    )
    step.write(Root(str(tmp_path)), "new")
    assert kvp.parse(place.read_bytes()) == [("A", "1"), (kvp.REPORT_KEY, "new"), ("B", "2")]


def test_reports_that_stand_there_twice_become_one(tmp_path: pathlib.Path) -> None:
    place = pool(tmp_path)
    old = kvp.record(kvp.REPORT_KEY, "old")
    place.write_bytes(
        old + kvp.record("A", "1") + old + kvp.record("B", "2") + kvp.record("C", "3") + old
    )
    step.write(Root(str(tmp_path)), "new")
    assert kvp.parse(place.read_bytes()) == [
        (kvp.REPORT_KEY, "new"),
        ("A", "1"),
        ("B", "2"),
        ("C", "3"),
    ]


def test_a_huge_pool_keeps_all_its_records(tmp_path: pathlib.Path) -> None:
    place = pool(tmp_path)
    others = b"".join(kvp.record(f"K{number}", "") for number in range(500))
    place.write_bytes(others)
    step.write(Root(str(tmp_path)), "new")
    assert place.read_bytes() == others + kvp.record(kvp.REPORT_KEY, "new")


def test_half_a_record_at_the_end_is_cut_off(tmp_path: pathlib.Path) -> None:
    place = pool(tmp_path)
    place.write_bytes(kvp.record("A", "1") + b"half")
    step.write(Root(str(tmp_path)), "new")
    assert kvp.parse(place.read_bytes()) == [("A", "1"), (kvp.REPORT_KEY, "new")]


def test_a_pool_from_before_this_boot_is_emptied(tmp_path: pathlib.Path) -> None:
    place = pool(tmp_path)
    place.write_bytes(kvp.record("A", "1"))
    before = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) - 60
    os.utime(place, (before, before))
    step.write(Root(str(tmp_path)), "new")
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
        step.write(Root(str(tmp_path)), "after")
        os.waitpid(child, 0)
        assert [key for key, _ in kvp.parse(place.read_bytes())] == ["HELD", kvp.REPORT_KEY]


def test_a_lock_that_is_never_released_is_given_up(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    monkeypatch.setattr(step, "LOCK_LIMIT", 0.1)
    place = pool(tmp_path)
    with open(place, "wb") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        with pytest.raises(GuestError, match=r"cannot write .*: resource temporarily unavailable"):
            step.write(Root(str(tmp_path)), "x")


def test_a_link_in_the_place_of_the_pool_is_not_written_through(tmp_path: pathlib.Path) -> None:
    place = pool(tmp_path)
    (tmp_path / "victim").write_text("kept")
    place.symlink_to("/victim")
    step.write(Root(str(tmp_path)), "x")  # inside the root, where the link leads
    assert kvp.parse((tmp_path / "victim").read_bytes())


def test_the_kernel_tells_its_links_addresses_and_routes() -> None:
    links, addresses, _ = network.survey()
    loopback = next(link for link in links if link.name == "lo")
    assert loopback.up
    assert ("127.0.0.1", 8) in [
        (network.text(address.packed), address.prefix)
        for address in addresses
        if address.index == loopback.index
    ]
