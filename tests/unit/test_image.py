"""install, uninstall and generalize, on trees of the test's own."""

import os
import pathlib
import stat
import subprocess

import pytest

from agent import init
from agent.azure import http
from agent.azure.retry import Deadline
from agent.boot import Boot
from agent.change import perform, rehearse
from agent.commands import generalize, install, uninstall
from agent.errors import UsageError
from agent.init import systemd
from agent.root import Root
from agent.settings import Config
from agent.steps import DISABLE
from tests.conftest import FROZEN, Lines, words

NOWHERE = http.endpoint("http://127.0.0.1:9")
ELF = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00"


@pytest.fixture
def image(tmp_path: pathlib.Path) -> pathlib.Path:
    """A tree that looks like an image with systemd on the machine that this runs on."""
    for folder in ("usr/lib/systemd", "etc/systemd/system", "usr/local/bin"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "usr/lib/systemd/systemd").write_bytes(FROZEN.read_bytes()[:64])
    return tmp_path


def azready(*arguments: str, how: str = "frozen") -> "subprocess.CompletedProcess[str]":
    assert arguments[0] in ("install", "uninstall", "generalize")
    return subprocess.run(
        [*words(how), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )


def listed(root: pathlib.Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir())


def test_install_puts_file_unit_and_link_and_may_be_repeated(image: pathlib.Path) -> None:
    before = listed(image)
    for said in (
        "enable azready for the next boot: ",
        "nothing to do: azready is installed and enabled",
    ):
        result = azready("install", "--root", str(image))
        assert result.returncode == 0, result.stderr
        assert said in result.stderr
    file = image / "usr/local/bin/azready"
    assert file.read_bytes() == FROZEN.read_bytes()
    assert stat.S_IMODE(file.stat().st_mode) == 0o755
    assert (image / "etc/systemd/system/azready.service").read_text() == init.SYSTEMS[
        "systemd"
    ].unit("/usr/local/bin/azready")
    link = image / "etc/systemd/system/multi-user.target.wants/azready.service"
    assert link.readlink() == pathlib.Path("../azready.service")
    assert link.resolve().is_file()
    result = azready("uninstall", "--root", str(image))
    assert result.returncode == 0, result.stderr
    assert listed(image) == before
    assert (
        "nothing to do: azready is not installed"
        in azready("uninstall", "--root", str(image)).stderr
    )


def test_install_goes_where_it_is_told(image: pathlib.Path) -> None:
    assert azready("install", "--root", str(image), "--exec", "/opt/agent").returncode == 0
    assert (image / "opt/agent").exists()
    assert (
        "ExecStart=/opt/agent provision"
        in (image / "etc/systemd/system/azready.service").read_text()
    )


def test_a_package_that_is_there_is_mentioned(image: pathlib.Path) -> None:
    packaged = image / "usr/bin/azready"
    packaged.parent.mkdir(parents=True, exist_ok=True)
    packaged.write_text("#!/bin/sh\n")
    said = azready("install", "--root", str(image)).stderr
    assert "a package has put azready at /usr/bin/azready" in said
    said = azready("install", "--root", str(image), "--exec", "/usr/bin/azready").stderr
    assert "a package" not in said


def test_host_keys_that_all_vms_would_share_are_mentioned(image: pathlib.Path) -> None:
    """As Debian's openssh-server makes them when it is installed."""
    words = ("--root", str(image))
    key = image / "etc/ssh/ssh_host_ed25519_key"
    key.parent.mkdir(parents=True, exist_ok=True)
    key.write_text("key\n")
    assert "warning: this image has SSH host keys" in azready("install", *words).stderr
    said = azready("generalize", *words, "--yes")
    assert f"remove {key.relative_to(image)}" in said.stdout.replace("/etc", "etc")
    assert "shut this machine down" not in said.stderr
    assert "SSH host keys" not in azready("install", *words).stderr


def test_a_dry_run_changes_nothing(image: pathlib.Path) -> None:
    before = listed(image)
    for command, said in (("install", "would enable azready"), ("uninstall", "nothing to do")):
        result = azready(command, "--root", str(image), "--dry-run")
        assert (result.returncode, said in result.stderr) == (0, True), result.stderr
    assert listed(image) == before


def test_an_image_for_another_processor_is_refused(image: pathlib.Path) -> None:
    (image / "usr/lib/systemd/systemd").write_bytes(ELF + (183).to_bytes(2, "little") + bytes(44))
    result = azready("install", "--root", str(image))
    assert result.returncode == 1
    assert "the file is for x86_64, the image below" in result.stderr
    assert "for aarch64 (/usr/lib/systemd/systemd)" in result.stderr
    assert listed(image) == ["usr/lib/systemd/systemd"]


def test_an_image_without_init_system_is_refused(tmp_path: pathlib.Path) -> None:
    result = azready("install", "--root", str(tmp_path))
    assert result.returncode == 1
    assert "no init system was found in" in result.stderr
    assert listed(tmp_path) == []


def test_from_source_there_is_no_file_to_install(image: pathlib.Path) -> None:
    result = azready("install", "--root", str(image), how="source")
    assert result.returncode == 2
    assert "this is not the static file" in result.stderr


@pytest.fixture
def used(image: pathlib.Path) -> pathlib.Path:
    """The same after some life."""
    files = {
        "etc/machine-id": "0123456789abcdef0123456789abcdef\n",
        "etc/hostname": "web-1\n",
        "etc/hosts": "127.0.0.1 localhost\n127.0.1.1\tweb-1\n",
        "etc/ssh/ssh_host_ed25519_key": "secret",
        "etc/ssh/ssh_host_ed25519_key.pub": "public",
        "etc/ssh/sshd_config": "Port 22\n",
        "etc/ssh/sshd_config.d/00-azready.conf": "PasswordAuthentication no\n",
        "etc/sudoers.d/90-azready": "ann ALL=(ALL) ALL\n",
        "etc/systemd/system/azready.service": "x",
        "etc/passwd": "root:x:0:0::/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\nbob:x:1001:1001::/home/bob:/bin/sh\n",
        "etc/shadow": "root:*::::::\nann:!::::::\nbob:!::::::\n",
        "etc/group": "root:x:0:\nsudo:x:27:ann,bob\nann:x:1000:\n",
        "home/ann/.bash_history": "secret command",
        "home/ann/file": "x",
        "home/bob/.bash_history": "another",
        "home/bob/file": "kept",
        "root/.ash_history": "x",
        "var/mail/ann": "mail",
        "var/lib/azready/6e1b6b2c-1f0a-4d55-9c4b-0a1b2c3d4e5f.provisioned": "x",
        "var/lib/azready/customdata": "secret",
        "var/lib/dhcp/dhclient.eth0.leases": "x",
        "var/lib/systemd/random-seed": "x",
        "var/lib/cloud/instance/user-data.txt": "x",
        "var/lib/waagent/ovf-env.xml": "x",
        "var/log/syslog": "line\n",
        "var/log/syslog.1": "old\n",
        "var/log/apt/history.log": "line\n",
        "var/log/apt/history.log.1.gz": "old\n",
        "var/log/azure/waagent.log": "line\n",
        "var/log/cloud-init.log": "line\n",
        "var/log/journal/0123/system.journal": "x",
        "srv/data": "kept",
    }
    for name, content in files.items():
        (image / name).parent.mkdir(parents=True, exist_ok=True)
        (image / name).write_text(content)
    return image


def test_generalize_removes_what_makes_a_machine(used: pathlib.Path) -> None:
    result = azready("generalize", "--root", str(used), "--yes")
    assert result.returncode == 0, result.stderr
    left = listed(used)
    for name in (
        "etc/hostname",
        "etc/ssh/ssh_host_ed25519_key",
        "root/.ash_history",
        "home/bob/.bash_history",
        "var/lib/systemd/random-seed",
        "var/log/syslog.1",
    ):
        assert name not in left
    assert not [
        name
        for name in left
        if name.startswith(
            (
                "var/lib/azready/",
                "var/lib/cloud/",
                "var/lib/waagent/",
                "var/log/journal/",
                "var/lib/dhcp/",
            )
        )
    ]
    assert not [name for name in left if "azready.conf" in name or "90-azready" in name]
    assert (used / "etc/machine-id").read_bytes() == b""
    assert (used / "etc/hosts").read_text() == "127.0.0.1 localhost\n"
    assert (
        (used / "var/log/syslog").read_bytes()
        == (used / "var/log/apt/history.log").read_bytes()
        == b""
    )
    assert (used / "home/ann/file").exists()
    assert (used / "srv/data").read_text() == "kept"
    assert (used / "etc/ssh/sshd_config").read_text() == "Port 22\n"
    assert (used / "etc/systemd/system/multi-user.target.wants/azready.service").is_symlink()
    for name in (
        "var/log/apt/history.log.1.gz",
        "var/log/azure/waagent.log",
        "var/log/cloud-init.log",
    ):
        assert name not in left
    again = azready("generalize", "--root", str(used), "--yes")
    assert again.returncode == 0
    assert again.stdout == "nothing to do\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="a home that belongs to its user takes root")
def test_a_second_generalize_has_nothing_to_do(used: pathlib.Path) -> None:
    azready("generalize", "--root", str(used), "--yes")
    again = azready("generalize", "--root", str(used), "--yes")
    assert (again.returncode, again.stdout) == (0, "nothing to do\n")


def test_generalize_removes_a_user_with_home_and_mail(used: pathlib.Path) -> None:
    os.chown(used / "home/ann", 1000, 1000)
    result = azready("generalize", "--root", str(used), "--user", "ann", "--yes")
    assert result.returncode == 0, result.stderr
    assert not (used / "home/ann").exists()
    assert not (used / "var/mail/ann").exists()
    assert (
        used / "etc/passwd"
    ).read_text() == "root:x:0:0::/root:/bin/sh\nbob:x:1001:1001::/home/bob:/bin/sh\n"
    assert (used / "etc/group").read_text() == "root:x:0:\nsudo:x:27:bob\n"
    assert (used / "home/bob/file").exists()


@pytest.mark.parametrize(
    ("user", "why"),
    [
        ("root", "it belongs to the system"),
        ("nobody", "there is no such user"),
        ("zoe", "its home /home holds that of"),
        ("sys", "its home /usr is a folder of the system's"),
    ],
)
def test_generalize_refuses_users_that_must_stay(used: pathlib.Path, user: str, why: str) -> None:
    with open(used / "etc/passwd", "a") as passwd:
        passwd.write("zoe:x:1003:1003::/home:/bin/sh\nsys:x:1004:1004::/usr:/bin/sh\n")
    before = listed(used)
    result = azready("generalize", "--root", str(used), "--user", user, "--yes")
    assert result.returncode == 2
    assert why in result.stderr
    assert listed(used) == before


def test_generalize_lists_first_and_asks(used: pathlib.Path) -> None:
    before = {name: (used / name).read_bytes() for name in listed(used)}
    asked = azready("generalize", "--root", str(used))
    assert asked.returncode == 2
    assert "nothing was changed: generalize asks first, or needs --yes" in asked.stderr
    dry = azready("generalize", "--root", str(used), "--dry-run")
    assert dry.returncode == 0
    assert "would empty /etc/machine-id\n" in dry.stdout
    assert "would remove /etc/ssh/ssh_host_ed25519_key\n" in dry.stdout
    assert "would remove web-1 from /etc/hosts\n" in dry.stdout
    assert {name: (used / name).read_bytes() for name in listed(used)} == before


@pytest.mark.parametrize(("answer", "code"), [(b"y\n", 0), (b"YES\n", 0), (b"n\n", 2), (b"\n", 2)])
def test_generalize_takes_an_answer_from_the_terminal(
    used: pathlib.Path, answer: bytes, code: int
) -> None:
    ours, theirs = os.openpty()
    os.write(ours, answer)
    result = subprocess.run(
        [FROZEN, "generalize", "--root", str(used)],
        stdin=theirs,
        capture_output=True,
        text=True,
        timeout=30,
    )
    os.close(ours)
    os.close(theirs)
    assert result.returncode == code, result.stderr
    assert "generalize the system below" in result.stdout
    assert (used / "etc/hostname").exists() is (code != 0)


def test_generalize_never_leaves_the_root(
    used: pathlib.Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside")
    (outside / "x.leases").write_text("kept")
    for path in ("var/lib/dhclient", "var/lib/dhcpcd"):
        (used / path).symlink_to(outside)
    assert azready("generalize", "--root", str(used), "--yes").returncode == 0
    assert (outside / "x.leases").exists()


def test_a_home_that_holds_another_is_a_usage_error(used: pathlib.Path) -> None:
    (used / "etc/passwd").write_text(
        "ann:x:1000:1000::/home:/bin/sh\nbob:x:1001:1001::/home/bob:/bin/sh\n"
    )
    with pytest.raises(UsageError, match="its home /home holds that of bob"):
        generalize.changes(Root(str(used)), "/var/lib/azready", "ann")


def test_uninstall_leaves_no_link_of_a_masked_unit(image: pathlib.Path) -> None:
    units = image / "etc/systemd/system"
    (image / "usr/lib/systemd/system").mkdir()
    (image / "usr/lib/systemd/system/azready.service").touch()
    (units / "azready.service").symlink_to("/dev/null")
    (units / "multi-user.target.wants").mkdir()
    (units / "multi-user.target.wants/azready.service").symlink_to(
        "/usr/lib/systemd/system/azready.service"
    )
    root = Root(str(image))
    assert init.enabled(root) == []
    assert perform(uninstall.changes(root, "/usr/local/bin/azready"), Lines()) == 2
    assert init.enabled(root) == []
    assert list(uninstall.changes(root, "/usr/local/bin/azready")) == []


def test_uninstall_leaves_the_order_of_insserv_without_a_script(image: pathlib.Path) -> None:
    order = image / "etc/init.d/.depend.start"
    order.parent.mkdir()
    order.write_text("TARGETS = ssh azready\nssh: azready\n")
    root = Root(str(image))
    assert perform(uninstall.changes(root, "/usr/local/bin/azready"), Lines()) == 1
    assert order.read_text() == "TARGETS = ssh\n"


def test_generalize_removes_names_that_read_the_same(image: pathlib.Path) -> None:
    (image / "root").mkdir()
    for name in (".a\x1b_history", ".a\\x1b_history"):
        (image / "root" / name).write_text("secret")
    root = Root(str(image))
    for change in generalize.changes(root, "/var/lib/azready", ""):
        change.apply()
    assert list((image / "root").iterdir()) == []
    assert generalize.changes(root, "/var/lib/azready", "") == []


def test_generalize_lists_nothing_twice(used: pathlib.Path) -> None:
    (used / "var/lib/azready/disabled").touch()
    for folder in ("/var/lib/azready", "/var/lib/cloud"):
        texts = [change.text for change in generalize.changes(Root(str(used)), folder, "")]
        assert len(texts) == len(set(texts))
        assert "remove /var/lib/azready/disabled" in texts


@pytest.mark.skipif(os.geteuid() == 0, reason="root may")
def test_this_machine_takes_root() -> None:
    assert azready("install").returncode == 5


@pytest.mark.parametrize("name", init.SYSTEMS)
def test_what_install_and_uninstall_rehearse_is_what_they_do(
    tmp_path: pathlib.Path, name: str
) -> None:
    root = Root(str(tmp_path))
    (tmp_path / "etc/init.d").mkdir(parents=True)
    (tmp_path / "etc/init.d/.depend.start").write_text("TARGETS = sudo ssh\n")

    def installing() -> "object":
        return install.changes(root, "/opt/azready", b"x" * 70, init.SYSTEMS[name])

    def uninstalling() -> "object":
        return uninstall.changes(root, "/opt/azready")

    for changes in (installing, uninstalling):
        rehearsed, performed = Lines(), Lines()
        assert rehearse(changes(), rehearsed) > 1  # type: ignore[arg-type]
        perform(changes(), performed)  # type: ignore[arg-type]
        would = [line.replace("would ", "", 1) for line in rehearsed.lines]
        assert would == performed.lines
        assert list(changes()) == []  # type: ignore[call-overload]
    assert listed(tmp_path) == ["etc/init.d/.depend.start"]
    assert (tmp_path / "etc/init.d/.depend.start").read_text() == "TARGETS = sudo ssh\n"


# A vendor's image: everything below /usr


def vendor_image(image: pathlib.Path) -> Root:
    (image / "etc/systemd/system").rmdir()
    (image / "etc/systemd").rmdir()
    assert azready("install", "--root", str(image), "--vendor").returncode == 0
    return Root(str(image))


def test_a_vendors_image_has_nothing_in_etc(image: pathlib.Path) -> None:
    before = listed(image)
    root = vendor_image(image)
    assert sorted(set(listed(image)) - set(before)) == [
        "usr/bin/azready",
        "usr/lib/systemd/system-preset/80-azready.preset",
        "usr/lib/systemd/system/azready.service",
        "usr/lib/systemd/system/multi-user.target.wants/azready.service",
    ]
    assert (
        "ExecStart=/usr/bin/azready provision\n"
        in (image / "usr/lib/systemd/system/azready.service").read_text()
    )
    assert not any((image / "etc").rglob("*"))
    assert init.enabled(root) == [systemd.VENDOR_LINK]
    again = azready("install", "--root", str(image), "--vendor")
    assert "nothing to do: azready is installed and enabled" in again.stderr
    assert azready("uninstall", "--root", str(image), "--vendor").returncode == 0
    assert listed(image) == before


def test_a_vendors_link_stays_and_a_file_disables_it(image: pathlib.Path) -> None:
    root = vendor_image(image)
    link = image / "usr/lib/systemd/system/multi-user.target.wants/azready.service"
    boot = Boot(root, NOWHERE, NOWHERE, Deadline(5), Config(), Lines())
    texts = [change.text for change in DISABLE.changes(boot)]
    assert texts == ["create /var/lib/azready/disabled, which keeps the unit from running again"]
    perform(DISABLE.changes(boot), Lines())
    assert link.is_symlink()
    assert init.enabled(root) == []
    assert list(DISABLE.changes(boot)) == []
    # What `systemctl preset-all` adds at the first boot goes.
    made = image / "etc/systemd/system/multi-user.target.wants/azready.service"
    made.parent.mkdir(parents=True)
    made.symlink_to("/usr/lib/systemd/system/azready.service")
    perform(DISABLE.changes(boot), Lines())
    assert not made.is_symlink()
    perform(iter(generalize.changes(root, "/var/lib/azready", "")), Lines())
    assert init.enabled(root) == [systemd.VENDOR_LINK]
    assert not made.is_symlink()


def test_a_vendors_file_is_not_called_a_packages(image: pathlib.Path) -> None:
    vendor_image(image)
    again = azready("install", "--root", str(image), "--vendor", "--exec", "/usr/sbin/azready")
    assert "warning: " not in again.stderr
    beside = azready("install", "--root", str(image))
    assert "a package" not in beside.stderr
    assert "warning: a vendor's azready is below /usr: install --vendor upd" in beside.stderr


def test_only_systemd_starts_what_a_vendor_has_put_below_usr(image: pathlib.Path) -> None:
    said = azready("install", "--root", str(image), "--vendor", "--init", "runit")
    assert said.returncode == 2
    assert (
        said.stderr == "azready: --vendor is not possible: runit starts nothing from below /usr\n"
    )


def test_what_is_the_vendors_and_what_is_not(image: pathlib.Path) -> None:
    vendor_image(image)
    plain = azready("uninstall", "--root", str(image))
    assert (
        "warning: a vendor's azready is below /usr: uninstall --vendor removes it" in plain.stderr
    )
    assert (image / "usr/bin/azready").exists()
    (image / "usr/lib/systemd/system/multi-user.target.wants/azready.service").unlink()
    package = azready("uninstall", "--root", str(image), "--vendor")
    assert "nothing to do: no vendor's azready is installed" in package.stderr
    assert (image / "usr/bin/azready").exists()
    (image / "etc/systemd/system").mkdir(parents=True)
    (image / "etc/systemd/system/azready.service").symlink_to("/dev/null")
    masked = azready("install", "--root", str(image), "--vendor")
    assert masked.returncode == 1
    assert "azready.service is masked, and /etc is left as it is: remove /etc/" in masked.stderr


@pytest.mark.parametrize("path", ["/etc/azready", "/usr/local/bin/azready", "/opt/azready"])
def test_a_vendors_file_is_below_usr(image: pathlib.Path, path: str) -> None:
    said = azready("install", "--root", str(image), "--vendor", "--exec", path)
    assert (said.returncode, said.stderr) == (
        2,
        f"azready: --exec '{path}' is not the vendor's: name one below /usr, not /usr/local\n",
    )
