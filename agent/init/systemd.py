"""systemd: the unit, and how it is taken out of the boot (systemd.service(5), systemd.exec(5), systemd.unit(5)).

Enabling is a symbolic link, so disabling works by removing it, without systemctl and without a running systemd.
"""

import posix
from stat import S_ISLNK

from agent.errors import GuestError, reason
from agent.guest import files

NAME = "azready.service"
PATH = "/etc/systemd/system"
UNIT = f"{PATH}/{NAME}"
WANTS = f"{PATH}/multi-user.target.wants"
_PLACES = (UNIT, f"/usr/lib/systemd/system/{NAME}", f"/lib/systemd/system/{NAME}")  # ours, and those of packages

_MANAGERS = ("/usr/lib/systemd/systemd", "/lib/systemd/systemd")

# The order: not after network-online.target, because the agent waits for the way to the wireserver itself, and better; before all that lets people in.
# The sandbox: as tight as the work allows. /etc, /var/lib and the homes are what a first boot writes; mount is for media that only the kernel can read, and
# what is forbidden fails with EPERM, so that a helper program does without instead of dying. A customData script is run outside of it, by systemd-run.
# IPAddressAllow names the two addresses of the platform; a unit with another --wireserver needs them changed.
_UNIT = """\
[Unit]
Description=Make this machine ready for Azure
After=local-fs.target systemd-remount-fs.service
Before=systemd-user-sessions.service ssh.service sshd.service

[Service]
Type=oneshot
ExecStart={executable} provision
RemainAfterExit=yes
TimeoutStartSec=25min
StandardOutput=journal+console
CapabilityBoundingSet=CAP_SYS_ADMIN CAP_CHOWN CAP_DAC_OVERRIDE CAP_FOWNER
NoNewPrivileges=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
PrivateMounts=yes
PrivateTmp=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
ProtectSystem=strict
ReadWritePaths=-/etc -/var/lib -/home
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service @mount sethostname
SystemCallErrorNumber=EPERM
IPAddressDeny=any
IPAddressAllow=168.63.129.16 169.254.169.254

[Install]
WantedBy=multi-user.target
"""


def unit(executable: str) -> str:
    """The text of the unit that runs `executable` (an absolute path inside the image)."""
    return _UNIT.format(executable=executable)


def is_used(root: str) -> bool:
    """Whether the image has systemd. Raises GuestError."""
    return any(files.exists(root, path) for path in _MANAGERS)


def place(root: str) -> str:
    """The path of the unit that is there, as the image sees it; "" if there is none. Raises GuestError."""
    return next((path for path in _PLACES if files.exists(root, path)), "")


def install(root: str, executable: str) -> bool:
    """Put the unit in place; False if it was there as it is. Raises GuestError."""
    text = unit(executable).encode()
    if files.read(root, UNIT) == text:
        return False
    files.replace(root, UNIT, text)
    return True


def uninstall(root: str) -> bool:
    """Remove the unit; False if there was none. Raises GuestError."""
    return files.discard(root, UNIT)


def enable(root: str) -> bool:
    """Make the link that starts the unit at boot, wherever that is, as `systemctl enable` does; False if it was there. Raises GuestError."""
    files.make_directories(root, WANTS)
    link = f"{files.resolve(root, WANTS)}/{NAME}"
    unit_path = place(root)
    try:
        if _is_link(link):
            return False
        posix.symlink(f"../{NAME}" if unit_path in (UNIT, "") else unit_path, link)
        files.sync_directory(link.rpartition("/")[0])
    except OSError as error:
        raise GuestError(f"cannot enable {NAME} at {link}: {reason(error)}") from None
    return True


def enabled(root: str) -> list[str]:
    """Every link below /etc/systemd/system that starts the unit. Raises GuestError."""
    base = files.resolve(root, PATH)
    links = []
    try:
        for directory in sorted(posix.listdir(base)):
            link = f"{base}/{directory}/{NAME}"
            if directory.endswith((".wants", ".requires")) and _is_link(link):
                links.append(link)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise GuestError(f"cannot look for {NAME} below {base}: {reason(error)}") from None
    return links


def disable(root: str) -> list[str]:
    """Remove every link that starts the unit; returns the places that were removed. Raises GuestError."""
    removed = []
    for link in enabled(root):
        try:
            if files.remove(link):
                files.sync_directory(link.rpartition("/")[0])
                removed.append(link)
        except OSError as error:
            raise GuestError(f"cannot disable {NAME} by removing {link}: {reason(error)}") from None
    return removed


def _is_link(path: str) -> bool:
    try:
        return S_ISLNK(posix.lstat(path).st_mode)
    except FileNotFoundError:
        return False
