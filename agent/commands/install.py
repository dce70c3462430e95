"""`azready install`: put azready and its unit into an image, offline and without its tools."""

import sys

from agent import init
from agent.change import Change, perform, rehearse
from agent.commands import common
from agent.errors import EXIT_DONE, GuestError, UsageError
from agent.files import read_given
from agent.init import rivals
from agent.settings import DEFAULT_PATH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.change import Changes
    from agent.init.scripts import Scripts
    from agent.log import Log
    from agent.root import Root

# Programs that every image with an init system has in some form: they tell its processor.
_TYPICAL = (
    "/sbin/init",
    "/usr/lib/systemd/systemd",
    "/lib/systemd/systemd",
    "/bin/sh",
    "/usr/bin/env",
    "/bin/busybox",
    "/usr/bin/bash",
)
_MACHINES = {
    3: "i386",
    8: "mips",
    20: "ppc",
    21: "ppc64",
    22: "s390x",
    40: "arm",
    62: "x86_64",
    183: "aarch64",
    243: "riscv",
    258: "loongarch",
}  # e_machine, elf(5)
_MAX_FILE = 64 * 1024 * 1024  # bytes


def run(options: "dict[str, str]", log: "Log") -> int:
    """Install into the tree of the command line, or only print what that would change."""
    name, file = common.init_system(options), options.get("--file", "")
    root, executable = common.tree(options, changes=True), common.executable(options)
    content = _given_file(file) if file else _own_file()
    why = "as requested"
    if not name:
        name, why = init.detect(root)
    if not name:
        raise GuestError(
            f"no init system was found in {root}: name it with --init, or copy the file by hand "
            f"and have the boot run {executable} provision once"
        )
    system = init.SYSTEMS[name]
    if "--vendor" in options:
        if not system.vendor:
            raise UsageError(f"--vendor is not possible: {name} starts nothing from below /usr")
        system = system.vendor
    _check_machine(root, content)
    log.info(f"init system: {name} ({why})")
    rival, link = rivals.enabled(root)
    if rival:
        log.warning(
            f"{rival} is enabled in this image ({link}): azready does nothing as long as it is, "
            f"unless {DEFAULT_PATH} has step_back = false"
        )
    if init.vendors(root):
        if "--vendor" not in options:
            log.warning("a vendor's azready is below /usr: install --vendor updates it")
    elif executable != common.PACKAGED and root.status(common.PACKAGED) is not None:
        log.warning(
            f"a package has put azready at {common.PACKAGED}, and upgrades it there, not at "
            f"{executable}: remove the package, or leave this to it"
        )
    if not root.is_live and any(name.startswith("ssh_host_") for name in root.names("/etc/ssh")):
        log.warning(
            "this image has SSH host keys, which all of its VMs would share: azready generalize "
            "--root removes them"
        )
    act = rehearse if "--dry-run" in options else perform
    count = act(changes(root, executable, content, system), log)
    if not count:
        log.info("nothing to do: azready is installed and enabled")
    elif system.then:
        log.info(system.then)
    return EXIT_DONE


def changes(root: "Root", executable: str, content: bytes, system: "Scripts") -> "Changes":
    """Yield what is missing: the file with `content` at `executable`, the unit, what enables it.

    Raises GuestError.
    """
    if root.head(executable, len(content) + 1) != content:
        text = f"write {executable} ({len(content)} bytes)"
        yield Change(text, lambda: root.replace(executable, content, 0o755))
    status = root.status(executable)
    if status is not None and status.st_mode & 0o111 != 0o111:
        text = f"make {executable} executable"
        yield Change(text, lambda: root.add_permissions(executable, 0o111))
    yield from system.writing(root, executable)
    yield from system.enabling(root)


def _own_file() -> bytes:
    """Return the running static file. Raises UsageError if this runs from source."""
    if not hasattr(sys, "frozen"):
        raise UsageError(
            "install copies the running file, and this is not the static file: "
            "run dist/azready-... install"
        )
    for path in ("/proc/self/exe", sys.executable):
        content = read_given(path, _MAX_FILE)
        if content:
            return content
    raise GuestError(
        f"cannot read the running file, neither as /proc/self/exe nor as {sys.executable}"
    )


def _given_file(path: str) -> bytes:
    """Return a static file for another architecture. Raises UsageError, GuestError."""
    content = read_given(path, _MAX_FILE)
    if content is None:
        raise UsageError(f"--file {path!r} cannot be used: no such file")
    if not _machine(content):
        raise UsageError(
            f"--file {path!r} cannot be used: it is not a program; "
            "name a file such as azready-linux-aarch64"
        )
    return content


def _check_machine(root: "Root", content: bytes) -> None:
    """Reject an image whose programs are for another architecture. Raises GuestError."""
    own = _machine(content)
    for path in _TYPICAL:
        try:
            found = _machine(root.head(path, 64))
        except GuestError:
            continue
        if found and found != own:
            raise GuestError(
                f"the file is for {_MACHINES.get(own, own)}, the image below {root} for "
                f"{_MACHINES.get(found, found)} ({path}): name the right file with --file"
            )
        if found:
            return


def _machine(program: bytes) -> int:
    """Return e_machine of an ELF file, 0 for anything else."""
    if len(program) < 20 or program[:4] != b"\x7fELF":
        return 0
    return int.from_bytes(program[18:20], "big" if program[5] == 2 else "little")
