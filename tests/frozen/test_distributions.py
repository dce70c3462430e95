"""The recipes of dist-config/examples for whole distributions, run as far as it goes without them.

Each page says what was run, and what was only parsed.
"""

import hashlib
import json
import os
import pathlib
import re
import shutil
import stat
import subprocess

import pytest

from agent import __version__, init
from agent.root import Root
from build import sources, toolchain
from build.cache import BuildError
from scripts.bootlab import kernels
from scripts.tasks import guests, package, released
from tests.conftest import BUILT, TOP

EXAMPLES = TOP / "dist-config/examples"
ALPINE = EXAMPLES / "alpine"
BUILDROOT = EXAMPLES / "buildroot"
YOCTO = EXAMPLES / "yocto"
RECIPE = "meta-azready/recipes-core/azready"
# rule of oelint-adv -> why the recipe does not follow it
UNHEEDED = {
    "oelint.vars.homepageping": "it would ask the network",
    "oelint.var.bbclassextend": "a file for the target is of no use to the host",
    "oelint.vars.insaneskip": "the file has no sections: it was stripped when it was built",
    "oelint.vars.srcurichecksum": "it does not expand TARGET_ARCH; the test of the sums does",
}
# As in Buildroot's package/pkg-generic.mk, the order of what installs a package.
GENERIC = """\
qstrip = $(strip $(subst ",,$(1)))
INSTALL = install
define generic-package
$$(TREE)/.stamp_target_installed:
	$$(AZREADY_INSTALL_TARGET_CMDS)
	$$(if $$(BR2_INIT_SYSTEMD),$$(AZREADY_INSTALL_INIT_SYSTEMD))
	$$(if $$(BR2_INIT_SYSV)$$(BR2_INIT_BUSYBOX),$$(AZREADY_INSTALL_INIT_SYSV))
endef
include external.mk
$(info $(AZREADY_SITE)/$(AZREADY_SOURCE))
"""
# Symbols of Buildroot that Config.in refers to.
KCONFIG = """\
mainmenu "Buildroot"
config BR2_x86_64
	bool "x86_64"
config BR2_aarch64
	bool "aarch64"
config BR2_INIT_BUSYBOX
	bool "busybox"
config BR2_INIT_SYSV
	bool "sysvinit"
config BR2_INIT_SYSTEMD
	bool "systemd"
source "$BR2_EXTERNAL_AZREADY_PATH/Config.in"
"""
# Whether azready can be chosen, with these symbols set; without a warning of kconfiglib.
ASK = """\
import sys, warnings, kconfiglib
warnings.simplefilter("error")
tree = kconfiglib.Kconfig(sys.argv[1], suppress_traceback=True)
for name in sys.argv[2:]:
    assert tree.syms[name].set_value("y"), name
tree.syms["BR2_PACKAGE_AZREADY"].set_value("y")
assert not tree.warnings, tree.warnings
print(tree.syms["BR2_PACKAGE_AZREADY"].str_value)
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A folder with the archive of a release for x86_64, unpacked, and its SHA256SUMS."""
    built = BUILT["frozen"]
    built.command()
    if built.architecture != "x86_64":
        pytest.skip("it is for the machine that the file is for")
    folder = tmp_path_factory.mktemp("release")
    sources.unpack(package.make("x86_64", built.file, folder)[-1], folder)
    return folder


def expected(init_system: str, place: pathlib.Path) -> dict[str, bytes]:
    """path -> content of what `install --exec /usr/bin/azready` writes for an init system."""
    place.mkdir()
    for change in init.SYSTEMS[init_system].writing(Root(str(place)), package.EXECUTABLE):
        change.apply()
    return {
        str(path.relative_to(place)): path.read_bytes()
        for path in place.rglob("*")
        if path.is_file()
    }


def run(*words: str | pathlib.Path, **more: object) -> str:
    """Run a command; return what it said. It must succeed."""
    command = [str(word) for word in words]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, **more)  # type: ignore[call-overload]
    assert result.returncode == 0, result.stdout + result.stderr
    return str(result.stdout + result.stderr)


def test_the_scripts_for_alpine_are_those_of_a_posix_shell() -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed (scripts/test installs it where it can)")
    # What abuild reads and sets, and that it ends at the first error.
    left = "--exclude=SC2034,SC2154,SC2164"
    run("shellcheck", "--shell=sh", left, ALPINE / "APKBUILD")
    run("shellcheck", *sorted(ALPINE.glob("azready.*-*")))


@pytest.mark.skipif(os.geteuid() != 0, reason="installing into another root takes root")
def test_apkbuild_makes_a_package_that_apk_installs(
    made: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    source, target, root = tmp_path / "src", tmp_path / "pkg", tmp_path / "root"
    shutil.copytree(
        made / f"azready-{__version__}-linux-x86_64", source / f"azready-{__version__}-linux-x86_64"
    )
    # abuild runs package() so: with these variables, and errors end it.
    ask = '. "$1"/APKBUILD; package; echo "$pkgname|$pkgver|$pkgrel|$license|$pkgdesc|$install"'
    variables = {"srcdir": str(source), "pkgdir": str(target), "CARCH": "x86_64"}
    said = run("sh", "-euc", ask, "sh", ALPINE, env={"PATH": os.environ["PATH"], **variables})
    name, version, release, licence, summary, install = said.strip().split("|")
    assert version == __version__, "the recipe is for another version"
    assert len(summary) <= 128
    for path, content in expected("openrc", tmp_path / "expected").items():
        assert (target / path).read_bytes() == content, path
        assert os.access(target / path, os.X_OK)
    assert (target / "usr/bin/azready").read_bytes() == BUILT["frozen"].file.read_bytes()
    assert len(list(target.glob("usr/share/man/man?/*.gz"))) == 5
    for file in target.rglob("*"):
        os.chown(file, 0, 0)
    try:
        apk = released.apk()
        shutil.copytree(guests.debian() / "bin", tmp_path / "bin", symlinks=True)
    except BuildError as error:
        pytest.skip(f"no apk or busybox can be had here: {error}")
    scripts = []
    for script in install.split():
        kind = script.removeprefix(f"{name}.")
        scripts += ["--script", f"{kind}:{ALPINE / script}"]
    facts = {
        "name": name,
        "version": f"{version}-r{release}",
        "arch": "x86_64",
        "license": licence,
        "description": summary,
    }
    words = [word for key, value in facts.items() for word in ("--info", f"{key}:{value}")]
    run(apk, "mkpkg", *words, *scripts, "--files", target, "--output", tmp_path / "azready.apk")
    (root / "bin").mkdir(parents=True)
    shutil.copy(tmp_path / "bin/busybox", root / "bin/busybox")
    for applet in ("sh", "mkdir", "ln", "rm"):
        (root / "bin" / applet).symlink_to("busybox")
    options = ["--root", str(root), "--arch", "x86_64", "--no-network", "--allow-untrusted"]
    run(apk, *options, "add", "--initdb", tmp_path / "azready.apk")
    assert init.enabled(Root(str(root))) == ["/etc/runlevels/default/azready"]
    assert stat.S_IMODE((root / "usr/bin/azready").stat().st_mode) == 0o755
    assert "azready" in run("chroot", root, "/usr/bin/azready", "--version")
    run(apk, *options, "del", "azready")
    assert not (root / "usr/bin/azready").exists()
    assert init.enabled(Root(str(root))) == []


@pytest.mark.parametrize("folder", [ALPINE, BUILDROOT, YOCTO])
def test_a_page_links_to_files_that_exist_and_says_what_was_not_run(folder: pathlib.Path) -> None:
    text = (folder / "README.md").read_text()
    links = re.findall(r"\]\(([^)#]+)\)", text)
    assert links
    assert [link for link in links if not (folder / link).exists()] == []
    assert "not run" in text.partition("## What was run")[2]
    assert max(len(line) for line in text.split("\n") if not line.startswith("|")) <= 100


def in_page(page: pathlib.Path, start: str) -> str:
    """The block of a page that starts with these words: a command, with which lines follow."""
    blocks = page.read_text().split("```\n")[1::2]
    return next(block for block in blocks if block.startswith(start))


@pytest.mark.parametrize(
    ("symbols", "answer"),
    [
        ("BR2_x86_64 BR2_INIT_BUSYBOX", "y"),
        ("BR2_aarch64 BR2_INIT_SYSTEMD", "y"),
        ("BR2_x86_64 BR2_INIT_SYSV", "y"),
        ("BR2_x86_64", "n"),
        ("BR2_INIT_BUSYBOX", "n"),
    ],
)
def test_buildroot_offers_azready_where_it_can_run(
    symbols: str, answer: str, tmp_path: pathlib.Path
) -> None:
    try:
        python = released.judges() / "python"
    except BuildError as error:
        pytest.skip(str(error))
    (tmp_path / "Config.in").write_text(KCONFIG)
    environment = {"BR2_EXTERNAL_AZREADY_PATH": str(BUILDROOT), "KCONFIG_WARN_UNDEF": "y"}
    said = run(python, "-c", ASK, tmp_path / "Config.in", *symbols.split(), env=environment)
    assert said.strip() == answer


@pytest.mark.parametrize("system", ["busybox", "systemd"])
def test_the_package_for_buildroot_installs_what_install_would(
    system: str, made: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "Makefile").write_text(GENERIC)
    (tmp_path / "external.mk").write_text((BUILDROOT / "external.mk").read_text())
    target = tmp_path / "target"
    tree = made / f"azready-{__version__}-linux-x86_64"
    said = run(
        "make",
        "-C",
        tmp_path,
        f"BR2_EXTERNAL_AZREADY_PATH={BUILDROOT}",
        "BR2_ARCH=x86_64",
        f"BR2_INIT_{system.upper()}=y",
        f"TARGET_DIR={target}",
        f"TREE={tree}",
    )
    assert f"/v{__version__}/azready-{__version__}-linux-x86_64.tar.gz" in said
    assert "warning" not in said
    assert (target / "usr/bin/azready").read_bytes() == BUILT["frozen"].file.read_bytes()
    for path, content in expected(system, tmp_path / "expected").items():
        place = path.replace("etc/systemd/", "usr/lib/systemd/")
        assert (target / place).read_bytes() == content, path
    if system == "systemd":
        (target / "etc").mkdir(exist_ok=True)
        run("systemctl", f"--root={target}", "preset-all")
    else:
        assert os.access(target / "etc/init.d/S41azready", os.X_OK)
    assert len(init.enabled(Root(str(target)))) == 1


def test_the_sums_for_buildroot_come_from_those_of_the_release(
    made: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    shutil.copytree(BUILDROOT, tmp_path / "tree")
    shutil.copy(made / "SHA256SUMS", tmp_path / "tree")
    run("sh", "-euc", in_page(BUILDROOT / "README.md", "sed"), cwd=tmp_path / "tree")
    lines = (tmp_path / "tree/package/azready/azready.hash").read_text().splitlines()
    name = f"azready-{__version__}-linux-x86_64.tar.gz"
    sums = [line.split("  ") for line in lines if not line.startswith("#")]
    assert sums == [["sha256", toolchain.sha256(made / name), name]]


def test_the_kernel_of_the_fragment_is_one_that_runs_on_azure() -> None:
    try:
        known = kernels.kernel().config.read_text().splitlines()
    except BuildError as error:
        pytest.skip(str(error))
    lines = (BUILDROOT / "board/azure/linux.fragment").read_text().splitlines()
    symbols = [line.partition("=")[0] for line in lines if not line.startswith("#")]
    assert len(symbols) == len(set(symbols)) > 20
    assert [name for name in symbols if not {f"{name}=y", f"{name}=m"} & set(known)] == []


@pytest.fixture
def layer(made: pathlib.Path, tmp_path: pathlib.Path) -> pathlib.Path:
    """The folder for Yocto, with the sums of the release as its page writes them."""
    place = tmp_path / "yocto"
    shutil.copytree(YOCTO, place)
    for name in ("SHA256SUMS", f"azready-{__version__}-linux-x86_64.tar.gz"):
        shutil.copy(made / name, place)
    run("sh", "-euc", in_page(YOCTO / "README.md", "sums="), cwd=place)
    return place


def test_oelint_accepts_the_recipe_for_yocto(layer: pathlib.Path) -> None:
    try:
        judge = released.judges() / "oelint-adv"
    except BuildError as error:
        pytest.skip(str(error))
    files = [layer / RECIPE / f"azready_{__version__}.bb", layer / "meta-azready/conf/layer.conf"]
    off = [word for rule in UNHEEDED for word in ("--suppress", rule)]
    assert run(judge, "--quiet", *off, *files) == ""


def test_the_sums_for_yocto_come_from_those_of_the_release(
    layer: pathlib.Path, made: pathlib.Path
) -> None:
    name = f"azready-{__version__}-linux-x86_64"
    licence = hashlib.md5((made / name / "copyright").read_bytes()).hexdigest()
    assert (layer / RECIPE / "azready-sums.inc").read_text().splitlines() == [
        f'SRC_URI[x86_64.sha256sum] = "{toolchain.sha256(made / f"{name}.tar.gz")}"',
        f'LIC_FILES_CHKSUM = "file://copyright;md5={licence}"',
    ]


def test_the_recipe_for_yocto_installs_what_install_would(
    layer: pathlib.Path, made: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    text = (layer / RECIPE / f"azready_{__version__}.bb").read_text()
    task = text[text.index("do_install() {") :].partition("\n}\n")[0] + "\n}\ndo_install"
    target = tmp_path / "target"
    variables = {
        "S": str(made / f"azready-{__version__}-linux-x86_64"),
        "D": str(target),
        "bindir": "/usr/bin",
        "sysconfdir": "/etc",
        "systemd_system_unitdir": "/usr/lib/systemd/system",
    }
    run("sh", "-euc", task, env={"PATH": os.environ["PATH"], **variables})
    assert (target / "usr/bin/azready").read_bytes() == BUILT["frozen"].file.read_bytes()
    files = {**expected("sysvinit", tmp_path / "a"), **expected("systemd", tmp_path / "b")}
    for path, content in files.items():
        place = target / path.replace("etc/systemd/", "usr/lib/systemd/")
        if not path.endswith(".preset"):  # its class systemd writes one
            assert place.read_bytes() == content, path
    assert os.access(target / "etc/init.d/azready", os.X_OK)


def test_every_recipe_names_the_licences_of_all_parts() -> None:
    BUILT["frozen"].command()
    bill = json.loads(toolchain.bill(BUILT["frozen"].file).read_text())
    licences = {
        entry.get("expression") or entry["license"]["id"]
        for part in [bill["metadata"]["component"], *bill["components"]]
        for entry in part["licenses"]
    }
    assert len(licences) >= 4
    for recipe in (
        ALPINE / "APKBUILD",
        BUILDROOT / "package/azready/azready.mk",
        YOCTO / RECIPE / f"azready_{__version__}.bb",
    ):
        (line,) = re.findall(
            r"^(?:AZREADY_)?LICENSE ?= ?(.*)", recipe.read_text(), re.IGNORECASE | re.MULTILINE
        )
        line = line.replace("-WITH-", " WITH ")  # bitbake knows no exceptions
        assert [licence for licence in licences if licence not in line] == [], recipe
