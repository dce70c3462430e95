"""Key-value pool files, the kernel's network and helper programs."""

import os
import pathlib
import time

import pytest

from agent import programs
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


def test_a_program_gets_its_input_and_its_output_is_kept() -> None:
    pieces: list[bytes] = []
    result = programs.run(
        ["/bin/sh", "-c", "cat; echo err >&2; exit 3"], stdin=b"in\n", on_output=pieces.append
    )
    assert (result.code, result.output) == (3, "in\nerr\n")
    assert b"".join(pieces) == b"in\nerr\n"
    assert str(result) == "exited with status 3: in err"


def test_a_program_sees_none_of_our_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "x")
    assert set(programs.run(["/usr/bin/env"]).output.split("=")[0:1]) <= {"PATH", "LC_ALL", "HOME"}
    assert "SECRET" not in programs.run(["/usr/bin/env"]).output


def test_a_program_that_hangs_is_killed_with_all_it_started(tmp_path: pathlib.Path) -> None:
    started = time.monotonic()
    with pytest.raises(GuestError, match=r"/bin/sh was killed: it ran for more than 0\.3 s"):
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
