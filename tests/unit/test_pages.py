"""The pages of this repository name files, commands and options that exist, and agree."""

import pathlib
import re
import shlex

import pytest

TOP = pathlib.Path(__file__).parents[2]
PAGES = {
    name: (TOP / name).read_text()
    for name in (
        "README.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "agent/README.md",
        "dist-config/COMPARISON.md",
        "scripts/README.md",
    )
}
MODULE = re.compile(r"^with_tools (\S+)|-m (scripts\.\S+)", re.MULTILINE)


def command_lines(text: str) -> list[list[str]]:
    """The words of every line in a code block that runs one of scripts/, up to a further program."""
    found = []
    for block in text.split("```")[1::2]:
        for line in block.split("\n"):
            for part in line.split("&&"):
                match = re.match(r"\s*(?:\./)?scripts/(\S+.*)", part)
                if match:
                    words = shlex.split(match[1], comments=True)
                    found.append(words[: words.index("--")] if "--" in words else words)
    return found


def source(name: str) -> str:
    """The source of the module behind a script; its own text if there is none."""
    script = (TOP / "scripts" / name).read_text()
    match = MODULE.search(script)
    if not match:
        return script
    place = TOP / (match[1] or match[2]).replace(".", "/")
    text = (place.with_suffix(".py") if not place.is_dir() else place / "__main__.py").read_text()
    return text + (TOP / "build/__main__.py").read_text() * ("build.main(" in text)


@pytest.mark.parametrize("name", PAGES)
def test_every_link_leads_somewhere(name: str) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", PAGES[name])
    files = [link for link in links if "://" not in link]
    assert [link for link in files if not (TOP / name).parent.joinpath(link).exists()] == []


@pytest.mark.parametrize("name", PAGES)
def test_every_script_and_option_exists(name: str) -> None:
    for script, *words in command_lines(PAGES[name]):
        text = source(script)
        for word in words:
            if word.startswith("--"):
                assert f'"{word}"' in text, f"scripts/{script} {word}"
            elif word.startswith("tests/"):
                assert (TOP / word).exists()


def test_every_script_is_listed() -> None:
    scripts = {path.name for path in (TOP / "scripts").iterdir() if path.suffix == ""}
    listed = set(re.findall(r"^\| `scripts/(\w+)` \|", PAGES["scripts/README.md"], re.MULTILINE))
    assert listed == {name for name in scripts if (TOP / "scripts" / name).is_file()}


def tables(text: str) -> dict[str, str]:
    """Head -> table, for every table of a page."""
    found = re.findall(r"^(\|.*\n)(\|-.*\n(?:\|.*\n)*)", text, re.MULTILINE)
    return {head: head + rows for head, rows in found}


def test_tables_that_two_pages_have_are_the_same() -> None:
    readme = tables(PAGES["README.md"])
    shared = [
        (name, head)
        for name in ("CONTRIBUTING.md", "dist-config/COMPARISON.md")
        for head in tables(PAGES[name]).keys() & readme.keys()
    ]
    assert [
        (name, head) for name, head in shared if tables(PAGES[name])[head] != readme[head]
    ] == []


EXAMPLES = TOP / "dist-config/examples"


@pytest.mark.parametrize("page", sorted(EXAMPLES.rglob("*.md")), ids=lambda page: page.parent.name)
def test_the_links_of_a_recipe_lead_somewhere(page: pathlib.Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_every_recipe_is_in_the_index_and_has_a_page() -> None:
    listed = re.findall(
        r"^\| \[\w[\w-]*\]\((\w[\w-]*)\)", (EXAMPLES / "README.md").read_text(), re.MULTILINE
    )
    assert sorted(listed) == sorted(path.name for path in EXAMPLES.iterdir() if path.is_dir())
    assert all((EXAMPLES / name / "README.md").is_file() for name in listed)
