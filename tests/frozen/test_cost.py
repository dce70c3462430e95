"""What a file costs stays within build/budget.toml, and what is inside is written down."""

import ctypes
import hashlib
import importlib.util
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
from typing import Any
from urllib.parse import quote

import fastjsonschema
import pytest
from cyclonedx import schema
from cyclonedx.model.bom import Bom

from build import emptyroot, report, toolchain, vex, zig
from build.link import by_object
from scripts.simulator import scenario
from scripts.simulator.server import Simulator
from scripts.tasks import bench, cold, figures
from tests.conftest import BUILT, TOP, Built


def test_no_file_is_larger_than_its_budget(built: Built) -> None:
    budget = figures.budget_for(built.architecture, built.freezer)
    assert 0.9 * budget["size"] < built.file.stat().st_size <= budget["size"]


@pytest.mark.skipif(
    shutil.which("valgrind") is None,
    reason="valgrind is not installed (scripts/test installs it where it can)",
)
def test_a_report_takes_no_more_instructions_than_its_budget(built: Built) -> None:
    if not built.native:
        pytest.skip("scripts/bench --callgrind counts them, which takes a minute each")
    with Simulator(scenario.load("healthy")) as simulator:
        command = [str(built.file), "report", "ready", "--wireserver", simulator.url("wireserver")]
        counted = figures.instructions(command, built.architecture)
    assert simulator.reports == ["Ready"]
    budget = figures.budget_for(built.architecture, built.freezer)["instructions"]
    # Below it would be a reason to lower the budget.
    assert 0.9 * budget < counted <= budget


@pytest.mark.skipif(
    shutil.which("valgrind") is None or os.geteuid() != 0,
    reason="valgrind is not installed (scripts/test installs it where it can), or not root",
)
@pytest.mark.parametrize("name", figures.PROVISIONS)
def test_a_provision_takes_no_more_instructions_than_its_budget(built: Built, name: str) -> None:
    limit = figures.budget_for(built.architecture, built.freezer).get(name)
    if limit is None:
        pytest.skip("its provision has no budget")
    counted = figures.provisioning(built.file, built.architecture, figures.PROVISIONS[name])
    assert 0.9 * limit < counted <= limit


def test_qemu_counts_what_callgrind_counts(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a program that counts to a million, on this machine's own code."""
    emulator = shutil.which(f"qemu-{toolchain.native()}-static")
    if emulator is None or shutil.which("valgrind") is None:
        pytest.skip(
            "qemu-user-static or valgrind is not installed (scripts/test installs them where it can)"
        )
    (tmp_path / "count.c").write_text(
        "int main(void) { volatile int at = 0; while (at < 1000000) at++; return 0; }\n"
    )
    program = str(tmp_path / "count")
    subprocess.run(
        [
            zig.tools(toolchain.native()) / "cc",
            "-O1",
            "-static",
            "-o",
            program,
            tmp_path / "count.c",
        ],
        env=zig.environment(),
        check=True,
    )
    by_callgrind = figures.instructions([program], toolchain.native())
    monkeypatch.setattr("build.machine.emulator", lambda machine: emulator)
    assert (
        1_000_000
        < figures.instructions([program], toolchain.native())
        == pytest.approx(by_callgrind, rel=0.02)
    )


def test_a_file_over_its_budget_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    one = figures.Figures(toolchain.native(), toolchain.DEFAULT_FREEZER)
    one.instructions = 10**9
    assert re.search(r"1,000,000,000 instructions, the budget is [0-9,]+$", "\n".join(one.over))
    one.instructions, one.provisions = 0, {"provision": 10**9}
    assert re.search(r"1,000,000,000 instructions of provision, the budget", "\n".join(one.over))


def test_the_bill_of_materials_names_every_part(built: Built) -> None:
    document: dict[str, Any] = json.loads(toolchain.bill(built.file).read_text())
    assert Bom.from_json(document).metadata.component is not None  # type: ignore[attr-defined]
    components = {component["name"]: component for component in document["components"]}
    around = (
        {"pyinstaller-bootloader", "zlib"}
        if toolchain.tool(built.freezer) == "pyinstaller"
        else {"nuitka-runtime", "zlib-crc32"}
    )
    assert set(components) == {"cpython", "expat", "hacl-star", "musl", "zig-compiler-rt"} | around
    for component in components.values():
        assert component["version"]
        assert component["licenses"]
        assert component["purl"].startswith("pkg:")
        assert component["supplier"]["name"]
        assert len(component["hashes"][0]["content"]) == 64
        assert re.fullmatch(r"cpe:2\.3:a:[^:]+:[^:]+:[^:]+(:\*){7}", component["cpe"])
    assert re.fullmatch(r"2\.\d+\.\d+", components["expat"]["version"])
    assert components["cpython"]["hashes"][0]["content"] in {
        pin["sha256"] for pin in toolchain.pins()["cpython"]
    }
    digest = hashlib.sha256(built.file.read_bytes()).hexdigest()
    assert document["metadata"]["component"]["hashes"] == [{"alg": "SHA-256", "content": digest}]
    tools = {component["name"] for component in document["metadata"]["tools"]["components"]}
    assert {"ziglang", toolchain.tool(built.freezer)} <= tools
    for name in components:
        assert (TOP / "dist" / "LICENSES" / f"{name}.txt").read_text().strip()


def _definition(uri: str) -> Any:
    """A schema of CycloneDX, from cyclonedx-python-lib."""
    place = pathlib.Path(str(schema.__file__)).parent / "_res"
    return json.loads((place / uri.rpartition("/")[2]).read_text())


def test_bill_and_vex_are_valid(built: Built) -> None:
    """Against the schema of CycloneDX 1.6, in which an unknown key is an error."""
    validate = fastjsonschema.compile(
        _definition("bom-1.6.SNAPSHOT.schema.json"), handlers={"http": _definition}
    )
    for file in (toolchain.bill(built.file), toolchain.vex(built.file)):
        document = json.loads(file.read_text())
        validate(document)
        document["metadata"]["surprise"] = "x"
        with pytest.raises(fastjsonschema.JsonSchemaException, match="surprise"):
            validate(document)


def test_the_vex_speaks_of_parts_of_this_bill(built: Built) -> None:
    bill = json.loads(toolchain.bill(built.file).read_text())
    document = json.loads(toolchain.vex(built.file).read_text())
    for key in ("component", "timestamp"):
        assert document["metadata"][key] == bill["metadata"][key]
    link = bill["serialNumber"].replace("urn:uuid:", "urn:cdx:") + f"/{bill['version']}#"
    references = {link + quote(part["bom-ref"], safe="") for part in bill["components"]}
    assert len(document["vulnerabilities"]) == len(vex.statements())
    for flaw in document["vulnerabilities"]:
        assert flaw["analysis"]["state"] == "not_affected"
        assert flaw["analysis"]["justification"]
        assert flaw["analysis"]["detail"]
        assert {target["ref"] for target in flaw["affects"]} <= references


def test_a_module_that_the_vex_says_is_absent_is(built: Built) -> None:
    """The file itself lists what it has; the names are those of modules that exist."""
    listing = subprocess.run(
        [*built.command(), "--version", "--verbose"], capture_output=True, text=True, check=True
    ).stdout.split()
    assert {"tomllib", "posix"} <= set(listing)
    for statement in vex.statements():
        for module in statement.get("modules", ()):
            assert importlib.util.find_spec(module)
            assert module not in listing


def test_the_checksums_are_those_of_the_files() -> None:
    result = subprocess.run(
        ["sha256sum", "--check", "--strict", "SHA256SUMS"],
        cwd=TOP / "dist",
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout
    assert all(built.file.name in result.stdout for built in BUILT.values() if built.file.exists())


def test_the_report_accounts_for_every_byte(built: Built) -> None:
    by_part, by_object, by_module = report.tables(built.file)
    total = built.file.stat().st_size
    for one in (by_part, by_object, by_module):
        assert f"{total:,} bytes" in str(one.title)
        assert one.row_count > 5
    assert sum(int(str(cell).replace(",", "")) for cell in by_part.columns[1].cells) == total


def test_sizes_are_read_from_a_map_of_the_linker() -> None:
    lines = [
        "             VMA              LMA     Size Align Out     In      Symbol",
        "         1000240          1000240   19a050    16 .rodata",
        "         1000240          1000240       10    16         /cache/x/frozen.o:(.rodata)",
        "         1000250          1000250        0     1                 azready_code",
        "         1000250          1000250       20    16         /cache/x/libpython3.13.a(unicodeobject.o):(.rodata.kind)",
        "         11a9820          11a9820   216000    16 .text",
        "         11a9820          11a9820        5    16         /cache/zig/o/1/libc.a(/cache/zig/o/2/memcmp.o):(.text.memcmp)",
        "         13c3460          13c3460    47000    16 .bss",
        "         13c3460          13c3460    47000    16         /cache/x/frozen.o:(.bss)",
    ]
    assert by_object("\n".join(lines)) == {
        "libpython3.13.a/unicodeobject.o": 32,
        "frozen.o": 16,
        "libc.a/memcmp.o": 5,
    }


def test_runs_where_no_memory_may_become_executable(built: Built) -> None:
    """What MemoryDenyWriteExecute= does on new kernels.

    That is PR_SET_MDWE with PR_MDWE_REFUSE_EXEC_GAIN.
    """
    if not built.native:
        pytest.skip("qemu itself makes code")
    libc = ctypes.CDLL(None, use_errno=True)

    def deny() -> None:
        if libc.prctl(65, 1, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "PR_SET_MDWE")

    try:
        result = subprocess.run(
            [built.file, "--version"], preexec_fn=deny, capture_output=True, text=True
        )
    except subprocess.SubprocessError:
        pytest.skip("this kernel has no PR_SET_MDWE")
    assert result.returncode == 0


@pytest.mark.skipif(not emptyroot.possible(), reason="this user and kernel cannot make a namespace")
def test_the_floor_of_the_race_reports_ready(tmp_path: pathlib.Path) -> None:
    simulate = [sys.executable, "-m", "scripts.simulator", "--netns", "--strict", "--"]
    done = subprocess.run(
        [*simulate, str(bench.build_floor(tmp_path))], capture_output=True, text=True, cwd=TOP
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("accepted: Ready") == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a disk")
def test_a_cold_disk_reads_each_time(tmp_path: pathlib.Path) -> None:
    """And leaves no device and no mount behind."""
    (tmp_path / "file").write_bytes(bytes(1 << 20))
    loops = subprocess.run(["losetup", "-a"], capture_output=True, text=True).stdout
    try:
        with cold.disk() as place:
            copy = cold.put(tmp_path / "file", place)
            assert copy.read_bytes() == bytes(1 << 20)
            before = cold.bytes_read(copy)
            copy.read_bytes()
            assert cold.bytes_read(copy) == before
            cold.drop(copy)
            copy.read_bytes()
            assert cold.bytes_read(copy) - before >= 1 << 20
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no loop device: {error}")
    assert not place.exists()
    assert subprocess.run(["losetup", "-a"], capture_output=True, text=True).stdout == loops
