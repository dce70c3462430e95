"""The packages, installed by the real package managers into real roots."""

import gzip
import io
import os
import pathlib
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator

import pytest

from agent import init
from agent.root import Root
from build import completions, manual
from build.cache import BuildError
from scripts.tasks import guests, package
from scripts.tasks.repository import make as make_repository
from tests.conftest import TOP, Built

MANUAL = [f"/usr/share/man/man{page.stem[-1]}/{page.stem}.gz" for page in manual.pages()]
LINK = "etc/systemd/system/multi-user.target.wants/azready.service"
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="installing into another root takes root")


@pytest.fixture(scope="module")
def packages(packaged: Built, tmp_path_factory: pytest.TempPathFactory) -> dict[str, pathlib.Path]:
    made = package.make(packaged.architecture, packaged.file, tmp_path_factory.mktemp("packages"))
    return dict(zip((*package.FORMATS, "tar"), made, strict=True))


@pytest.fixture
def root() -> Iterator[pathlib.Path]:
    """Debian with systemd, which does not run: as in an image build."""
    with tempfile.TemporaryDirectory() as scratch:
        place = pathlib.Path(scratch, "root")
        place.mkdir()
        try:
            yield guests.copy_of(guests.debian("systemd"), place)
        except BuildError as error:
            pytest.skip(f"no root of Debian can be made here: {error}")


def dpkg(root: pathlib.Path, *words: str) -> None:
    command = ["dpkg", f"--root={root}", "--force-architecture", "--force-confold", *words]
    result = subprocess.run(
        command, capture_output=True, text=True, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_two_runs_give_the_same_bytes(
    packaged: Built, packages: dict[str, pathlib.Path], tmp_path: pathlib.Path
) -> None:
    for script in (TOP / "dist-config/maintainer").glob("*/*"):
        script.touch()
    again = package.make(packaged.architecture, packaged.file, tmp_path)
    assert [path.read_bytes() for path in again] == [
        path.read_bytes() for path in packages.values()
    ]


def test_a_deb_depends_on_nothing_and_is_small(
    packaged: Built, packages: dict[str, pathlib.Path]
) -> None:
    fields = subprocess.run(
        ["dpkg-deb", "--field", packages["deb"]], capture_output=True, text=True, check=True
    ).stdout
    assert {"x86_64": "Architecture: amd64", "aarch64": "Architecture: arm64"}[
        packaged.architecture
    ] in fields
    for field in ("Depends", "Conflicts", "Breaks", "Replaces"):
        assert field not in fields
    assert (
        "as long as cloud-init, the Azure Linux agent or azure-init is enabled, it only logs that"
        in " ".join(fields.split())
    )
    assert packages["deb"].stat().st_size <= 1_600_000


def test_lintian_and_rpmlint_find_nothing(packages: dict[str, pathlib.Path]) -> None:
    for command in (
        ["lintian", "--allow-root", "--fail-on=error,warning", str(packages["deb"])],
        [
            "rpmlint",
            "--strict",
            "--config",
            str(TOP / "dist-config/rpmlint.toml"),
            str(packages["rpm"]),
        ],
    ):
        if shutil.which(command[0]) is None:
            pytest.skip(f"{command[0]} is not installed (scripts/test installs it where it can)")
        result = subprocess.run(command, capture_output=True, text=True)
        assert result.returncode == 0, result.stdout + result.stderr


def test_every_package_has_the_manual_pages(packages: dict[str, pathlib.Path]) -> None:
    assert len(MANUAL) >= 5
    listing = subprocess.run(
        ["dpkg-deb", "--contents", packages["deb"]], capture_output=True, text=True, check=True
    ).stdout
    assert [page for page in MANUAL if page not in listing] == []
    with tarfile.open(
        fileobj=io.BytesIO(gzip.decompress(packages["apk"].read_bytes())), ignore_zeros=True
    ) as archive:
        assert {page.lstrip("/") for page in MANUAL} <= set(archive.getnames())
    with tarfile.open(packages["tar"]) as archive:
        names = {pathlib.PurePath(name).name for name in archive.getnames()}
        assert {pathlib.PurePath(page).name for page in MANUAL} <= names
    if shutil.which("rpm"):
        listing = subprocess.run(
            ["rpm", "--query", "--package", "--list", packages["rpm"]],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert set(MANUAL) <= set(listing.split("\n"))


@needs_root
def test_installing_enables_and_starts_nothing_and_purging_leaves_nothing(
    packages: dict[str, pathlib.Path], root: pathlib.Path
) -> None:
    before = files(root)
    dpkg(root, "--install", str(packages["deb"]))
    assert (root / LINK).is_symlink()
    assert str((root / LINK).readlink()).endswith("/lib/systemd/system/azready.service")
    assert (root / "usr/lib/systemd/system/azready.service").read_text().count(
        "ExecStart=/usr/bin/azready provision\n"
    ) == 1
    assert not (root / "var/lib/azready").exists()
    (root / "var/lib/azready").mkdir()
    (root / "var/lib/azready/x.provisioned").touch()
    assert (root / "etc/rc2.d/S01azready").is_symlink()
    dpkg(root, "--remove", "azready")
    assert state_of_the_unit(root) == "masked"
    assert (root / "etc/azready.toml").exists()
    assert (root / "var/lib/azready/x.provisioned").exists()
    dpkg(root, "--install", str(packages["deb"]))
    assert state_of_the_unit(root) == "enabled"
    dpkg(root, "--purge", "azready")
    assert files(root) == before


@needs_root
def test_upgrading_keeps_settings_marker_and_what_the_unit_made_of_itself(
    packaged: Built, packages: dict[str, pathlib.Path], root: pathlib.Path
) -> None:
    dpkg(root, "--install", str(packages["deb"]))
    (root / "etc/azready.toml").write_text("deadline = 60\n")
    (root / "var/lib/azready").mkdir()
    (root / "var/lib/azready/x.provisioned").touch()
    systems = init.starting(Root(str(root)))
    assert systems
    for system, links in systems.items():  # as it does itself once the work is done
        assert system.disable(Root(str(root)), links) == links
    with tempfile.TemporaryDirectory() as scratch:
        newer = package.make(packaged.architecture, packaged.file, pathlib.Path(scratch), "0.9.9")[
            0
        ]
        dpkg(root, "--install", str(newer))
    assert "0.9.9" in (root / "var/lib/dpkg/status").read_text()
    assert (root / "etc/azready.toml").read_text() == "deadline = 60\n"
    assert (root / "var/lib/azready/x.provisioned").exists()
    assert not (root / LINK).is_symlink()
    assert [path.name for path in root.glob("etc/rc?.d/S*azready")] == []


@needs_root
def test_a_machine_that_was_installed_from_a_package_becomes_an_image_again(
    packages: dict[str, pathlib.Path], root: pathlib.Path, packaged: Built
) -> None:
    if not packaged.native:
        pytest.skip("the same script with another file")
    dpkg(root, "--install", str(packages["deb"]))
    (root / LINK).unlink()
    result = subprocess.run(
        [packaged.file, "generalize", "--root", root, "--yes"], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert "enable azready for the next boot" in result.stdout
    assert (root / LINK).readlink() == pathlib.Path("/usr/lib/systemd/system/azready.service")


@needs_root
def test_apt_installs_and_upgrades_from_a_repository(
    packaged: Built, packages: dict[str, pathlib.Path], root: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    if not packaged.native:
        pytest.skip("apt takes packages of its own architecture")
    newer = package.make(packaged.architecture, packaged.file, tmp_path, "0.9.9")
    make_repository([*packages.values(), *newer], root / "srv/azready")
    shutil.rmtree(root / "etc/apt/sources.list.d", ignore_errors=True)
    (root / "etc/apt/sources.list").write_text("deb [trusted=yes] file:/srv/azready/deb ./\n")

    def apt(*words: str) -> str:
        environment = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "DEBIAN_FRONTEND": "noninteractive",
            "LC_ALL": "C",
        }
        result = subprocess.run(
            ["chroot", root, "apt-get", "-y", *words],
            capture_output=True,
            text=True,
            env=environment,
        )
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    apt("update")
    assert "1 newly installed" in apt("install", "azready=0.1.0-1")
    assert state_of_the_unit(root) == "enabled"
    assert "1 upgraded" in apt("upgrade")
    assert "Version: 0.9.9-1\n" in (root / "var/lib/dpkg/status").read_text()
    apt("purge", "azready")
    assert not (root / "etc/azready.toml").exists()


@needs_root
def test_dnf_installs_from_a_repository(
    packaged: Built, packages: dict[str, pathlib.Path], tmp_path: pathlib.Path
) -> None:
    if shutil.which("dnf") is None:
        pytest.skip("dnf is not installed (scripts/test installs it where it can)")
    make_repository(list(packages.values()), tmp_path / "repository")
    (tmp_path / "root").mkdir()
    root = guests.copy_of(guests.debian(), tmp_path / "root")
    options = [
        f"--installroot={root}",
        f"--repofrompath=azready,file://{tmp_path}/repository/rpm",
        "--repo=azready",
        "--setopt=reposdir=/nonexistent",
    ]
    words = [
        "--nogpgcheck",
        "--releasever=1",
        f"--forcearch={packaged.architecture}",
        "--assumeyes",
        "install",
        "azready",
    ]
    result = subprocess.run(["dnf", *options, *words], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    assert (root / "usr/bin/azready").read_bytes() == packaged.file.read_bytes()
    # There is no systemctl here: the link was made by hand.
    assert (root / LINK).is_symlink()


def state_of_the_unit(root: pathlib.Path) -> str:
    command = ["systemctl", f"--root={root}", "is-enabled", "azready.service"]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()


def files(root: pathlib.Path) -> set[str]:
    """Every path of a root but those that dpkg keeps for itself."""
    return {
        str(path.relative_to(root))
        for path in root.rglob("*")
        if not path.is_relative_to(root / "var/lib/dpkg")
    }


@needs_root
def test_an_rpm_installs_and_goes(
    packaged: Built, packages: dict[str, pathlib.Path], root: pathlib.Path
) -> None:
    if shutil.which("rpm") is None:
        pytest.skip("rpm is not installed (scripts/test installs it where it can)")

    def rpm(*words: str) -> str:
        command = ["rpm", "--root", str(root), "--dbpath", "/var/lib/rpm", *words]
        result = subprocess.run(command, capture_output=True, text=True, check=True)
        assert "warning: %" not in result.stderr, result.stderr
        return result.stdout

    rpm("--ignorearch", "--install", str(packages["rpm"]))
    assert (root / LINK).is_symlink()
    assert rpm("--query", "--verify", "azready") == ""
    requires = rpm("--query", "--requires", "azready").split("\n")
    assert [
        line for line in requires if line and not line.startswith(("rpmlib(", "config(", "/bin/sh"))
    ] == []
    (root / LINK).unlink()
    rpm("--ignorearch", "--upgrade", "--force", str(packages["rpm"]))
    assert not (root / LINK).is_symlink()
    rpm("--erase", "azready")
    assert not (root / "usr/bin/azready").exists()


def test_apk_arch_and_plain_archive_hold_the_same(
    packaged: Built, packages: dict[str, pathlib.Path], tmp_path: pathlib.Path
) -> None:
    if shutil.which("zstd") is None:
        pytest.skip("zstd is not installed (scripts/test installs it where it can)")
    arch = tmp_path / "arch.tar"
    subprocess.run(
        ["zstd", "--quiet", "--decompress", packages["archlinux"], "-o", arch], check=True
    )
    with tarfile.open(arch) as archive:
        assert archive.extractfile("usr/bin/azready").read() == packaged.file.read_bytes()  # type: ignore[union-attr]
        information = archive.extractfile(".PKGINFO").read().decode()  # type: ignore[union-attr]
    assert f"arch = {packaged.architecture}\n" in information
    assert "depend =" not in information
    assert "backup = etc/azready.toml" in information
    # An .apk is several gzipped tars, one behind the other: gzip reads over the ends, tarfile must
    # be told to.
    with tarfile.open(
        fileobj=io.BytesIO(gzip.decompress(packages["apk"].read_bytes())), ignore_zeros=True
    ) as archive:
        names = archive.getnames()
        assert archive.extractfile("usr/bin/azready").read() == packaged.file.read_bytes()  # type: ignore[union-attr]
        information = archive.extractfile(".PKGINFO").read().decode()  # type: ignore[union-attr]
    assert f"arch = {packaged.architecture}\n" in information
    assert {
        ".post-install",
        ".pre-deinstall",
        "etc/azready.toml",
    } <= set(names)
    with tarfile.open(packages["tar"]) as archive:
        top = packages["tar"].name.removesuffix(".tar.gz")
        assert archive.getmember(f"{top}/azready").mode == 0o755
        assert {member.uname for member in archive.getmembers()} == {"root"}


@needs_root
def test_the_scripts_of_an_apk_enable_and_disable(
    packages: dict[str, pathlib.Path], tmp_path: pathlib.Path
) -> None:
    root = tmp_path / "root"
    root.mkdir()
    try:
        guests.copy_of(guests.debian("openrc"), root)
    except BuildError as error:
        pytest.skip(f"no root of Debian can be made here: {error}")
    with tarfile.open(
        fileobj=io.BytesIO(gzip.decompress(packages["apk"].read_bytes())), ignore_zeros=True
    ) as archive:
        assert archive.getmember("etc/init.d/azready").mode == 0o755
        for name, there in ((".post-install", True), (".pre-deinstall", False)):
            (root / "script").write_bytes(archive.extractfile(name).read())  # type: ignore[union-attr]
            subprocess.run(["chroot", root, "/bin/sh", "/script"], check=True)
            assert (root / "etc/runlevels/default/azready").is_symlink() == there


@needs_root
def test_pacman_installs_upgrades_and_removes(
    packaged: Built, packages: dict[str, pathlib.Path], root: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    if shutil.which("pacman") is None:
        pytest.skip("pacman is not installed (scripts/test installs it where it can)")
    (root / "var/lib/pacman").mkdir()
    (root / "bin/sh").unlink()
    (root / "bin/sh").symlink_to(
        "bash"
    )  # nfpm writes functions of bash, which is what sh is on Arch

    def pacman(*words: str) -> None:
        command = [
            "pacman",
            "--root",
            str(root),
            "--arch",
            packaged.architecture,
            "--noconfirm",
            *words,
        ]
        result = subprocess.run(command, capture_output=True, text=True)
        assert result.returncode == 0, result.stdout + result.stderr

    pacman("--upgrade", str(packages["archlinux"]))
    assert (root / LINK).is_symlink()
    (root / "etc/azready.toml").write_text("deadline = 60\n")
    (root / LINK).unlink()
    pacman(
        "--upgrade", str(package.make(packaged.architecture, packaged.file, tmp_path, "0.9.9")[3])
    )
    assert (root / "etc/azready.toml").read_text() == "deadline = 60\n"
    assert not (root / LINK).is_symlink()
    (root / LINK).symlink_to("/usr/lib/systemd/system/azready.service")
    pacman("--remove", "azready")
    assert not (root / LINK).is_symlink()
    assert not (root / "usr/bin/azready").exists()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("azready rep", "report"),
        ("azready report f", "failed"),
        ("azready report ready --w", "--wireserver"),
        ("azready unit --", "--init --exec"),
        ("azready report ready --deadline ", ""),
        ("azready unit --init open", "openrc"),
        ("azready provision --dhcp n", "never now"),
        ("azready help gen", "generalize"),
    ],
)
def test_bash_completes(words: str, expected: str) -> None:
    ask = 'IFS=" " read -ra COMP_WORDS <<<"$1"; [[ $1 != *" " ]] || COMP_WORDS+=(""); COMP_CWORD=$((${#COMP_WORDS[@]} - 1))'
    program = f'{completions.bash()}{ask}; _azready; echo "${{COMPREPLY[*]}}"'
    result = subprocess.run(
        ["bash", "-euc", program, "bash", words], capture_output=True, text=True
    )
    assert (result.stdout.strip(), result.stderr) == (expected, "")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("azready rep", ["report"]),
        ("azready report f", ["failed"]),
        ("azready install --fi", ["--file"]),
        ("azready provision --fi", []),
        ("azready unit --init open", ["openrc"]),
        ("azready provision --dhcp ne", ["never"]),
    ],
)
def test_fish_completes(words: str, expected: list[str], tmp_path: pathlib.Path) -> None:
    if shutil.which("fish") is None:
        pytest.skip("fish is not installed (scripts/test installs it where it can)")
    (tmp_path / "azready.fish").write_text(completions.fish())
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    program = f"source {tmp_path}/azready.fish; complete -C '{words}'"
    result = subprocess.run(
        ["fish", "--no-config", "-c", program], capture_output=True, text=True, env=environment
    )
    assert ([line.split("\t")[0] for line in result.stdout.splitlines()], result.stderr) == (
        expected,
        "",
    )


# The functions of zsh that ask a terminal say instead what they were asked.
ZSH = "_describe() { print -l -- ${(P)2} }; _arguments() { print -l -- $@ }; words=(%s); CURRENT=%d; source %s"


@pytest.mark.parametrize(
    ("words", "place", "expected"),
    [
        ("azready ''", 2, "install:install this file and its unit into an image, and enable it"),
        ("azready report ''", 3, "failed:report that provisioning failed, and why"),
        (
            "azready provision --dhcp ''",
            4,
            "--dhcp[ask for a lease if nobody does: never, auto (default), now]:WHEN:(never auto now)",
        ),
        (
            "azready install --file ''",
            4,
            "--root[work on the system below DIR instead of /; run none of its programs]:directory:_directories",
        ),
    ],
)
def test_zsh_completes(words: str, place: int, expected: str, tmp_path: pathlib.Path) -> None:
    if shutil.which("zsh") is None:
        pytest.skip("zsh is not installed (scripts/test installs it where it can)")
    (tmp_path / "_azready").write_text(completions.zsh())
    result = subprocess.run(
        ["zsh", "-f", "-c", ZSH % (words, place, tmp_path / "_azready")],
        capture_output=True,
        text=True,
    )
    assert result.stderr == ""
    assert expected in result.stdout.splitlines()
