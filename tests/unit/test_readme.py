"""README.md is short, and what it shows is what happens."""

import re

from agent import cli, init
from build import toolchain
from scripts.bootlab.guests import GUESTS
from scripts.tasks import figures
from tests.quotes import TOP
from tests.unit.test_manual import commands, templates

README = (TOP / "README.md").read_text()
BLOCKS = README.split("```")[1::2]
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def test_it_is_read_in_minutes() -> None:
    assert README.count("\n") <= 160
    assert len(README.split()) < 1600


def test_every_line_of_the_console_is_one_of_ours() -> None:
    (block,) = (one for one in BLOCKS if "Ready was reported" in one)
    known = templates()
    lines = block.strip().split("\n")
    assert len(lines) > 5
    assert [line for line in lines if not any(one.fullmatch(line) for one in known)] == []


def test_every_command_of_azready_is_one_that_it_takes() -> None:
    blocks = [one for one in BLOCKS if "Ready was reported" not in one]
    quotes = [*blocks, *re.findall(r"`([^`\n]+)`", README)]
    shown = [words for quote in quotes if "azready" in quote for words in commands(quote)]
    assert len(shown) >= 4
    for words in shown:
        command, rest = cli._command(words)
        cli._parse(command, rest)


def test_its_figures_are_within_the_budget() -> None:
    """tests/frozen holds the files to the budget."""
    limit = figures.budget_for("x86_64", "pyinstaller")
    (size,) = re.findall(r"one file of ([\d.]+) MB", README)
    (million,) = re.findall(r"takes ([\d.]+) million\s+instructions", README)
    assert 0.9 <= float(size) * 1e6 / limit["size"] <= 1.01
    assert 0.8 <= float(million) * 1e6 / limit["instructions"] <= 1.01


def test_it_counts_the_init_systems_that_there_are() -> None:
    (row,) = (line for line in README.split("\n") if line.startswith("| systemd, OpenRC"))
    named = {word.lower() for word in re.findall(r"[\w-]+", row)}
    systems = set(init.SYSTEMS) - {"dracut", "initramfs-tools"}
    assert systems <= named
    (count,) = re.findall(r"real kernels and (\w+) init systems", README)
    assert count == NUMBERS[len({guest.init for guest in GUESTS.values()})]


def test_the_python_that_it_asks_for_is_the_one_that_the_scripts_want() -> None:
    wanted = re.findall(r"Python (3\.\d+)", README)
    common = (toolchain.TOP / "scripts/common.sh").read_text()
    for version in wanted:
        assert f"version_info < ({version.replace('.', ', ')})" in common


def test_its_figures_of_the_race_are_those_of_the_table() -> None:
    table = (toolchain.TOP / ".github/race.md").read_text().split("## Image with SSH host keys")[0]
    rows = {
        name: (float(ready), float(login), int(packages))
        for name, ready, login, packages in re.findall(
            r"^\| ([\w-]+) \| ([\d.]+) \(.*?\) \| ([\d.]+) \(.*?\) \|.*?\| (\d+) \|",
            table,
            re.MULTILINE,
        )
    }
    text = " ".join(README.split())
    ((ready, login),) = re.findall(r"Ready ([\d.]+) s after .* in after ([\d.]+) s; cloud", text)
    assert (float(ready), float(login), 0) == rows["azready"]
    ((more, *times),) = re.findall(
        r"cloud-init, with (\d+) packages more, after ([\d.]+) s and ([\d.]+) s", text
    )
    assert (*map(float, times), int(more)) == rows["cloud-init"]
    (agent,) = re.findall(r"the Azure Linux agent after ([\d.]+) s", text)
    assert float(agent) == rows["walinuxagent"][0]
