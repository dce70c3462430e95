"""The race: what the guest says, the table, the picture and the arguments. Nothing is booted."""

import pathlib
import re
from xml.etree import ElementTree

import pytest

from scripts.tasks import bench, race, standings, stock, timeline
from scripts.tasks.contenders import CONTENDERS
from scripts.tasks.standings import Added, Boot, Record

SAID = """\
clock 1000.500 20.25
UserspaceTimestampMonotonic=2500000
user 990.25
key 989.0
key 991.75
MemTotal:         500000 kB
MemAvailable:     400000 kB
[    4.125000] image systemd-networkd[200]: eth0: Link UP
[    4.250000] image systemd-networkd[200]: eth0: Gained carrier
"""


def events(ready: float, login: float, **more: float) -> dict[str, float]:
    return {"init": 2.0, "address": 6.0, **more, "Ready": ready, "login": login}


@pytest.fixture
def record() -> Record:
    boots = [
        Boot("azready", False, events(8.0, 10.0, user=5.0), 50.0),
        Boot("azready", True, events(7.0, 9.0), 50.0),
        Boot("other", False, events(20.0, 24.0), 90.0),
        Boot("other", True, events(16.0, 18.0), 90.0),
        Boot("azready", False, events(9.0, 12.0), 52.0),
        Boot("other", False, {"init": 2.0, "Ready": 22.0}, 94.0),
        Boot("azready", False, events(6.0, 8.0), 51.0),
    ]
    added = {"azready": Added(0, 4_400_000, ()), "other": Added(3, 70_000_000, ("other -d",))}
    return Record(boots, added, "on a busy machine")


def test_what_the_guest_says() -> None:
    assert race.inside(SAID) == {"init": 2.5, "link": 4.25, "user": 10.0, "host keys": 11.5}


def test_what_was_in_the_image_is_before_the_start() -> None:
    assert race.inside("clock 1000.5 20.25\nkey 100.0\n")["host keys"] < 0


def test_a_median_needs_half_of_the_boots(record: Record) -> None:
    assert record.median("azready", "Ready", keys=False) == 8.0
    assert record.median("azready", "user", keys=False) is None  # one of three
    assert record.median("other", "login", keys=False) == 24.0  # one of two
    assert record.share("other", "Ready", keys=False) == 8.0 / 21.0
    assert record.share("other", "user", keys=False) is None


def test_the_table(record: Record) -> None:
    assert standings.rows(record, keys=False) == [
        ["azready", "8.0 (6.0 to 9.0)", "10.0 (8.0 to 12.0)", "", "0", "4.4", "51", "0"],
        [
            "other",
            "21.0 (20.0 to 22.0)",
            "24.0 (24.0 to 24.0)",
            "0.38 / 0.42",
            "3",
            "70.0",
            "92",
            "1",
        ],
    ]
    page = standings.markdown(record, "scripts/bench --boot")
    assert "| other | 16.0 (16.0 to 16.0) | 18.0 (18.0 to 18.0) | 0.44 / 0.50 |" in page
    assert page.index("scripts/bench --boot") < page.index("## Image without SSH host keys")
    assert "on a busy machine" in page


def test_a_boot_that_failed_has_no_times() -> None:
    record = Record([Boot("other", True, {}, 0.0)], {"other": Added(1, 1_000_000, ())})
    assert standings.rows(record, keys=True) == [["other", "-", "-", "- / -", "1", "1.0", "-", "0"]]
    assert ">other<" in timeline.picture(record)


def test_a_record_is_read_as_it_was_written(record: Record, tmp_path: pathlib.Path) -> None:
    record.write(tmp_path / "race.json")
    assert standings.read(tmp_path / "race.json") == record


def test_the_picture_has_every_event_at_its_time(record: Record) -> None:
    document = ElementTree.fromstring(timeline.picture(record))
    spaces = {"svg": "http://www.w3.org/2000/svg"}
    places = {
        title.text: float(mark.attrib["x"])
        for mark in document.iterfind(".//svg:rect", spaces)
        for title in mark.iterfind("svg:title", spaces)
    }
    assert {text for text in places if text and text.startswith("azready: login")} == {
        "azready: login 10.0 s",
        "azready: login 9.0 s",
    }
    one, two = places["azready: Ready 8.0 s"], places["other: login 24.0 s"]
    assert (two - one) / 16 == pytest.approx((one - places["azready: address 6.0 s"]) / 2, rel=0.01)
    assert not any("user" in (text or "") for text in places)
    width = float(document.attrib["viewBox"].split()[2])
    assert all(0 < place < width for place in places.values())
    said = [text.text for text in document.iterfind(".//svg:text", spaces)]
    assert "8.0 / 10.0" in said
    assert said.count("other") == 2


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--against", "other"], "'other' is not NAME=FILE"),
        (["--against", "Other name={file}"], "is not NAME=FILE, with a NAME of a-z"),
        (["--against", "other={file}.none"], "is no file"),
        (["--against", "bash={file}"], "there is a contender bash already"),
        (["--against", "a={file}", "--against", "a={file}"], "there is a contender a already"),
    ],
)
def test_a_wrong_contender_is_refused(
    words: list[str],
    says: str,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(race, "run", lambda *_: pytest.fail("it races"))
    file = tmp_path / "file"
    file.touch()
    assert bench.main(["--boot", *(word.replace("{file}", str(file)) for word in words)]) == 2
    assert says in re.sub(r"\s+", " ", capsys.readouterr().out)


@pytest.mark.parametrize(
    "words", [["--runs", "0"], ["--runs", "few"], ["--only", "nobody"], ["--host-keys", "x"]]
)
def test_wrong_words_are_refused(words: list[str]) -> None:
    with pytest.raises(SystemExit):
        bench.main(["--boot", *words])


def test_the_stand_in_for_go_programs_races_by_its_name(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "report"
    program.touch()
    monkeypatch.setattr(stock, "command", lambda name: [str(program)] if name == "go" else [])
    (found,) = race.against(["go"])
    assert (found.name, found.file) == ("go", program)


def test_who_races(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[tuple[object, ...]] = []
    monkeypatch.setattr(
        race, "run", lambda found, *rest: called.append(([one.name for one in found], *rest))
    )
    file = tmp_path / "file"
    file.touch()
    assert bench.main(["--boot"]) == 0
    word = f"mine={file}"
    more = ["--only", "bash", "--against", word, "--runs", "7", "--host-keys", "yes"]
    assert bench.main(["--boot", *more]) == 0
    repeat = f"scripts/bench --boot --runs 7 --only bash --against {word} --host-keys yes"
    assert called == [
        ([one.name for one in CONTENDERS], (False, True), 5, "scripts/bench --boot --runs 5"),
        (["bash", "mine"], (True,), 7, repeat),
    ]
