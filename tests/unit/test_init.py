"""Init systems: which one an image has, and getting into and out of its boot, offline."""

import os
import pathlib
import shutil
import subprocess

import pytest

from agent import init, usage
from agent.change import perform
from agent.commands import common, uninstall
from agent.errors import GuestError
from agent.formats.insserv import with_azready, without_azready
from agent.init import rivals
from agent.init.scripts import Scripts
from agent.root import Root
from build import manual
from build.tables import of_agent
from tests.conftest import Lines, shellcheck, words

INITRAMFS = ["dracut", "initramfs-tools"]
SHELL = ["openrc", "sysvinit", "runit", "s6", "busybox", *INITRAMFS]


def write(root: Root, name: str, executable: str = "/opt/azready") -> int:
    return perform(init.SYSTEMS[name].writing(root, executable), Lines())


def disable(root: Root) -> list[str]:
    return [
        link
        for system in init.SYSTEMS.values()
        for link in system.disable(root, system.entries(root))
    ]


def enable(root: Root, name: str) -> int:
    return perform(init.SYSTEMS[name].enabling(root), Lines())


def sketch(root: pathlib.Path, *paths: str, target: str = "") -> str:
    for path in paths:
        place = root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    if target:
        (root / "sbin").mkdir(exist_ok=True)
        (root / "sbin/init").symlink_to(target)
    return str(root)


@pytest.mark.parametrize(
    ("paths", "target", "name"),
    [
        ((), "/lib/systemd/systemd", "systemd"),
        (("/usr/lib/systemd/systemd",), "", "systemd"),
        (("/usr/lib/systemd/systemd", "/sbin/init", "/etc/init.d/rc"), "", "sysvinit"),
        (("/sbin/init", "/sbin/openrc-run", "/etc/init.d/rc"), "", "openrc"),
        (("/sbin/openrc-run",), "/bin/busybox", "openrc"),
        (("/etc/init.d/rcS",), "/bin/busybox", "busybox"),
        (("/etc/init.d/rc", "/etc/init.d/rcS"), "/lib/runit/runit-init", "runit"),
        ((), "/usr/bin/dinit", "dinit"),
        ((), "/etc/s6-linux-init/current/bin/init", "s6"),
        (("/etc/s6/sv/sshd/type",), "/etc/s6-linux-init/current/bin/init", "s6-rc"),
        (("/etc/finit.conf", "/sbin/init"), "", "finit"),
        (("/etc/passwd",), "", ""),
    ],
)
def test_the_init_system_is_found_out(
    tmp_path: pathlib.Path, paths: tuple[str, ...], target: str, name: str
) -> None:
    found, why = init.detect(Root(sketch(tmp_path, *paths, target=target)))
    assert (found, bool(why)) == (name, bool(name))


@pytest.mark.parametrize("name", init.SYSTEMS)
def test_enabling_and_disabling_leave_nothing(tmp_path: pathlib.Path, name: str) -> None:
    root, system = Root(str(tmp_path)), init.SYSTEMS[name]
    assert (system.place(root), init.installed(root), init.enabled(root), disable(root)) == (
        "",
        [],
        [],
        [],
    )
    assert write(root, name)
    assert not write(root, name)
    assert init.installed(root) == [name]
    assert enable(root, name)
    assert not enable(root, name)
    links = init.enabled(root)
    assert links
    for link in links:
        place = tmp_path / link.lstrip("/")
        if not place.is_symlink():
            assert name in ("s6-rc", *INITRAMFS)
            continue
        target = place.readlink()
        seen = tmp_path / str(target).lstrip("/") if target.is_absolute() else place.parent / target
        assert "/opt/azready provision" in (seen / "run" if seen.is_dir() else seen).read_text()
    assert disable(root) == links
    assert init.enabled(root) == []
    assert perform(system.removing(root), Lines())
    assert list(system.removing(root)) == []
    assert [
        path for path in tmp_path.rglob("*") if not path.is_dir() or "azready" in path.name
    ] == []


@pytest.mark.parametrize("name", SHELL)
def test_scripts_are_executable_and_good_shell(tmp_path: pathlib.Path, name: str) -> None:
    write(Root(str(tmp_path)), name)
    scripts = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert scripts
    for script in scripts:
        assert script.stat().st_mode & 0o777 == 0o755
        # openrc-run is no shell that shellcheck knows; what is sourced has no name of its own.
        shell = "bash" if script.name == "module-setup.sh" else "sh"
        shellcheck(script, f"--shell={shell}", *EXCLUDED.get(name, []))


# openrc-run and dracut use what is assigned, and assign what is used.
EXCLUDED = {"openrc": ["--exclude=SC2034"], "dracut": ["--exclude=SC2154,SC2034"]}


def test_the_text_of_several_files_names_each() -> None:
    assert init.SYSTEMS["s6-rc"].unit("/opt/azready") == (
        "# /etc/s6/sv/azready/up\n# Make this machine ready for Azure\n/opt/azready provision\n"
        "# /etc/s6/sv/azready/type\noneshot\n# /etc/s6/sv/azready/dependencies.d/mount-filesystems (empty)\n"
    )


def test_a_command_line_for_execline_is_one(tmp_path: pathlib.Path) -> None:
    execlineb = shutil.which("execlineb")
    if execlineb is None:
        pytest.skip("execline is not installed (scripts/test installs it where it can)")
    write(Root(str(tmp_path)), "s6-rc", "/bin/echo")
    said = subprocess.run(
        [execlineb, "-P", tmp_path / "etc/s6/sv/azready/up"], capture_output=True, text=True
    )
    assert (said.stdout, said.stderr) == ("provision\n", "")


def test_every_setting_of_dinit_is_known_and_its_folder_is_there(tmp_path: pathlib.Path) -> None:
    # dinit-service(5), the properties that every release has had.
    known = {"type", "command", "restart", "start-timeout", "logfile", "waits-for.d"}
    write(Root(str(tmp_path)), "dinit")
    settings = dict(
        line.split(" = ", 1)
        for line in (tmp_path / "etc/dinit.d/azready").read_text().splitlines()
        if not line.startswith("#")
    )
    assert set(settings) == known
    assert settings["start-timeout"] == "0"  # the default is a minute
    assert {
        path.stat().st_size
        for path in (tmp_path / "etc/dinit.d" / settings["waits-for.d"]).iterdir()
    } == {0}


def test_only_the_folder_of_services_that_is_there_gets_a_link(tmp_path: pathlib.Path) -> None:
    (tmp_path / "etc/service").mkdir(parents=True)
    enable(Root(str(tmp_path)), "runit")
    assert init.enabled(Root(str(tmp_path))) == ["/etc/service/azready"]


def test_runit_starts_in_the_next_boot_what_is_enabled_in_this_one(tmp_path: pathlib.Path) -> None:
    boot = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text()
    for folder in ("etc/service", "proc/sys/kernel/random", "bin"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "proc/sys/kernel/random/boot_id").write_text(boot)
    (tmp_path / "bin/sv").write_text("#!/bin/sh\n")
    (tmp_path / "bin/sv").chmod(0o755)
    root = Root(str(tmp_path))
    write(root, "runit", "/bin/echo")

    def started() -> str:
        return subprocess.run(
            ["./run"],
            cwd=tmp_path / "etc/sv/azready",
            env={"PATH": f"{tmp_path}/bin:{os.environ['PATH']}"},
            check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip

    enable(root, "runit")
    assert started() == "provision\n"  # of an image that is not running
    disable(root)
    root.is_live = True
    enable(root, "runit")
    assert "next boot" in started()
    assert enable(root, "runit") == 0
    (tmp_path / "etc/sv/azready/not-during").write_text("another boot\n")
    assert started() == "provision\n"


ORDER = """\
TARGETS = killprocs bootlogs sudo ssh single
INTERACTIVE =
single: killprocs
rc.local: rmnologin bootlogs ssh
"""


def test_azready_gets_into_the_order_of_insserv_before_sshd() -> None:
    changed = with_azready(ORDER)
    assert changed.splitlines()[0] == "TARGETS = killprocs bootlogs sudo ssh single azready"
    assert changed.endswith("rc.local: rmnologin bootlogs ssh\nssh: azready\n")
    assert with_azready(changed) == changed
    assert without_azready(changed) == ORDER
    ruled = with_azready(ORDER + "ssh: sudo\n")
    assert ruled.endswith("ssh: sudo azready\n")
    assert without_azready(ruled) == ORDER + "ssh: sudo\n"


def test_an_order_without_azready_is_not_touched() -> None:
    odd = "TARGETS = a  b\nfree:\n\nb: a"
    assert without_azready(odd) == odd


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*words("frozen"), *arguments], capture_output=True, text=True)


def test_install_says_what_was_found_and_why_and_uninstall_takes_it_out(
    tmp_path: pathlib.Path,
) -> None:
    root = sketch(tmp_path, "/sbin/openrc-run", "/bin/sh")
    shutil.copy("/bin/true", tmp_path / "bin/sh")
    assert (
        "init system: openrc (/sbin/openrc-run exists)"
        in run("install", "--root", root, "--dry-run").stderr
    )
    assert not (tmp_path / "etc").exists()
    assert run("install", "--root", root).returncode == 0
    assert (tmp_path / "etc/runlevels/default/azready").is_symlink()
    assert run("uninstall", "--root", root).returncode == 0
    assert not (tmp_path / "etc/init.d/azready").exists()


def test_another_init_system_can_be_named(tmp_path: pathlib.Path) -> None:
    assert (
        "\ncommand = /opt/azready provision\n"
        in run("unit", "--init", "dinit", "--exec", "/opt/azready").stdout
    )
    unknown = run("unit", "--init", "upstart")
    assert unknown.returncode == 2
    assert "unknown init system --init 'upstart': use one of systemd, openrc" in unknown.stderr


def test_a_file_for_another_processor_is_put_into_its_image(tmp_path: pathlib.Path) -> None:
    root = sketch(tmp_path / "root", "/sbin/openrc-run", "/bin/sh")
    other = tmp_path / "azready-linux-aarch64"
    header = b"\x7fELF\x02\x01\x01" + bytes(11) + (183).to_bytes(2, "little") + bytes(44)
    other.write_bytes(header)
    (tmp_path / "root/bin/sh").write_bytes(header)
    refused = run("install", "--root", root)
    assert refused.returncode == 1
    assert "the file is for x86_64, the image below" in refused.stderr
    assert run("install", "--root", root, "--file", str(other)).returncode == 0
    assert (tmp_path / "root/usr/local/bin/azready").read_bytes() == header
    assert "it is not a program" in run("install", "--root", root, "--file", __file__).stderr
    assert "no such file" in run("install", "--root", root, "--file", "/missing").stderr


def systemd_image(root: pathlib.Path, unit: str, folder: str = "multi-user.target.wants") -> str:
    sketch(root, "/usr/lib/systemd/systemd", f"/usr/lib/systemd/system/{unit}")
    (root / f"etc/systemd/system/{folder}").mkdir(parents=True)
    (root / f"etc/systemd/system/{folder}/{unit}").symlink_to(f"/usr/lib/systemd/system/{unit}")
    return str(root)


@pytest.mark.parametrize(
    ("unit", "folder", "name"),
    [
        ("cloud-init.service", "cloud-init.target.wants", "cloud-init"),
        ("cloud-init-main.service", "cloud-init.target.wants", "cloud-init"),
        ("walinuxagent.service", "multi-user.target.wants", "the Azure Linux agent"),
        ("waagent.service", "multi-user.target.wants", "the Azure Linux agent"),
        ("azure-init.service", "multi-user.target.wants", "azure-init"),
        ("sshd.service", "multi-user.target.wants", ""),
    ],
)
def test_another_agent_that_systemd_starts_is_seen(
    tmp_path: pathlib.Path, unit: str, folder: str, name: str
) -> None:
    found, link = rivals.enabled(Root(systemd_image(tmp_path, unit, folder)))
    assert (found, link) == (name, f"/etc/systemd/system/{folder}/{unit}" if name else "")


def test_one_that_is_installed_masked_or_gone_is_not_enabled(tmp_path: pathlib.Path) -> None:
    root = systemd_image(tmp_path, "waagent.service")
    (tmp_path / "etc/systemd/system/waagent.service").symlink_to("/dev/null")
    assert rivals.enabled(Root(root)) == ("", "")
    (tmp_path / "etc/systemd/system/waagent.service").unlink()
    assert rivals.enabled(Root(root))[0]
    (tmp_path / "usr/lib/systemd/system/waagent.service").unlink()
    assert rivals.enabled(Root(root)) == ("", "")


@pytest.mark.parametrize(
    ("text", "is_rival"),
    [
        (None, True),
        ("", True),
        ("Provisioning.Agent=auto\n", True),  # without cloud-init, it provisions itself
        ("Provisioning.Agent=waagent\n", True),
        ("Provisioning.Agent=disabled\n", False),
        (' Provisioning.Agent = "disabled"  # by hand\r\n', False),
        ("Provisioning.Agent=cloud-init\nExtensions.Enabled=y\n", False),
        ("#Provisioning.Agent=disabled\n", True),
        ("Provisioning.Agent=disabled\nProvisioning.Agent=auto\n", True),
        ("Provisioning.Agent=Disabled\n", True),
        ("Provisioning.Enabled=n\n", True),  # has no effect since its 2.2.45
    ],
)
def test_the_azure_linux_agent_counts_if_it_provisions(
    tmp_path: pathlib.Path, text: str | None, is_rival: bool
) -> None:
    root = Root(systemd_image(tmp_path, "walinuxagent.service"))
    if text is not None:
        (tmp_path / "etc/waagent.conf").write_text(text)
    assert (rivals.enabled(root)[0] == "the Azure Linux agent") is is_rival
    for unit in ("walinuxagent.service", "waagent.service"):
        assert f" {unit}" in init.SYSTEMS["systemd"].unit("/a").partition("[Service]")[0].replace(
            "Before=", " "
        )


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("etc/cloud/cloud-init.disabled", ""),
        ("run/cloud-init/disabled", ""),
        ("proc/cmdline", "quiet cloud-init=disabled\n"),
    ],
)
def test_cloud_init_that_is_switched_off_is_not_enabled(
    tmp_path: pathlib.Path, path: str, text: str
) -> None:
    root = systemd_image(tmp_path, "cloud-init.service", "cloud-init.target.wants")
    assert rivals.enabled(Root(root))[0] == "cloud-init"
    sketch(tmp_path, path)
    (tmp_path / path).write_text(text)
    assert rivals.enabled(Root(root)) == ("", "")


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/etc/runlevels/boot/cloud-init-local", "cloud-init"),
        ("/etc/rc3.d/S04walinuxagent", "the Azure Linux agent"),
        ("/etc/rc3.d/K04walinuxagent", ""),
        ("/etc/init.d/waagent", ""),
        ("/etc/init.d/S50waagent", "the Azure Linux agent"),
    ],
)
def test_another_agent_of_another_init_system_is_seen(
    tmp_path: pathlib.Path, path: str, name: str
) -> None:
    assert rivals.enabled(Root(sketch(tmp_path, path))) == (name, path if name else "")


def test_install_warns_of_another_agent(tmp_path: pathlib.Path) -> None:
    result = run("install", "--root", systemd_image(tmp_path, "waagent.service"), "--dry-run")
    assert result.returncode == 0
    assert "the Azure Linux agent is enabled in this image (" in result.stderr


def test_install_takes_a_mask_away_and_what_it_points_to_stays(tmp_path: pathlib.Path) -> None:
    units = tmp_path / "etc/systemd/system"
    units.mkdir(parents=True)
    (tmp_path / "dev").mkdir()
    os.mkfifo(tmp_path / "dev/null")
    (units / "azready.service").symlink_to("/dev/null")
    root, system = Root(str(tmp_path)), init.SYSTEMS["systemd"]
    assert (enable(root, "systemd"), system.enabled(root)) == (1, [])
    rehearsed = [change.text for change in system.writing(root, "/opt/azready")]
    assert write(root, "systemd") == len(rehearsed) == 3
    assert "ExecStart=/opt/azready provision\n" in (units / "azready.service").read_text()
    assert system.enabled(root) == ["/etc/systemd/system/multi-user.target.wants/azready.service"]
    assert (tmp_path / "dev/null").is_fifo()


def test_nothing_is_written_in_the_place_of_a_device(tmp_path: pathlib.Path) -> None:
    (tmp_path / "etc").mkdir()
    os.mkfifo(tmp_path / "etc/null")
    (tmp_path / "etc/hostname").symlink_to("null")
    with pytest.raises(GuestError, match="it is not a regular file"):
        Root(str(tmp_path)).replace("/etc/hostname", b"x")
    assert (tmp_path / "etc/null").is_fifo()


def test_what_is_disabled_under_sysvinit_has_links_that_stop_it(tmp_path: pathlib.Path) -> None:
    root, system = Root(str(tmp_path)), init.SYSTEMS["sysvinit"]
    enable(root, "sysvinit")
    assert len(system.disable(root, system.entries(root))) == 4
    assert sorted(path.name for path in tmp_path.rglob("*azready")) == ["K01azready"] * 4
    enable(root, "sysvinit")
    assert sorted(path.name for path in tmp_path.rglob("*azready")) == ["S01azready"] * 4


def test_a_new_init_system_is_one_declaration(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_up = Scripts(
        name="made-up",
        title="Made up",
        files="`/etc/made-up/azready`",
        enabled_by="link in `/etc/made-up/on`",
        evidence=("/etc/made-up/boot",),
        started=("/etc/made-up/on",),
        texts={"/etc/made-up/azready": "#!/bin/sh\nexec {executable} provision\n"},
        links={"/etc/made-up/on/azready": "../azready"},
    )
    root = Root(sketch(tmp_path, "/etc/made-up/boot", "/etc/made-up/on/waagent"))
    assert init.detect(root) == ("", "")
    monkeypatch.setitem(init.SYSTEMS, "made-up", made_up)
    assert init.detect(root) == ("made-up", "/etc/made-up/boot exists")
    assert rivals.enabled(root) == ("the Azure Linux agent", "/etc/made-up/on/waagent")
    assert common.init_system({"--init": "made-up"}) == "made-up"
    assert "made-up" in usage.everything()
    page = manual.filled(".. begin: init systems\n\n.. end: init systems\n", of_agent())
    assert all(word in page for word in ("made-up", "/etc/made-up/azready", "/etc/made-up/on"))
    assert (write(root, "made-up"), enable(root, "made-up")) == (1, 1)
    assert init.enabled(root) == ["/etc/made-up/on/azready"]
    perform(uninstall.changes(root, "/usr/local/bin/azready"), Lines())
    assert list(uninstall.changes(root, "/usr/local/bin/azready")) == []
    assert init.installed(root) == []


def test_the_unit_may_read_the_cd_whatever_else_is_protected() -> None:
    """ProtectClock= alone forbids every other device (systemd issue 18142)."""
    lines = init.SYSTEMS["systemd"].unit("/a").splitlines()
    assert {"ProtectClock=yes", "DevicePolicy=closed", "DeviceAllow=block-* r"} <= set(lines)


def test_the_unit_starts_beside_the_system_and_not_after_it() -> None:
    lines = init.SYSTEMS["systemd"].unit("/a").splitlines()
    assert {"DefaultDependencies=no", "Conflicts=shutdown.target"} <= set(lines)
    after = " ".join(line for line in lines if line.startswith("After="))
    assert "local-fs.target" in after
    assert not {"sysinit.target", "basic.target", "network"} & set(after.split())


@pytest.mark.parametrize("name", ["dracut", "initramfs-tools"])
def test_the_initramfs_needs_no_network_tools(name: str) -> None:
    text = init.SYSTEMS[name].unit("/a") + "".join(init.SYSTEMS[name].flags.values())
    assert "/a provision --dhcp now" in text
    for word in ("configure_networking", "neednet", "ip=", "depends", "systemd/network"):
        assert word not in text
