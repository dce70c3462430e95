"""systemd: the unit, and how it is taken out of the boot (systemd.service(5), systemd.exec(5), systemd.unit(5)).

Enabling is a symbolic link, so disabling works by removing it, without systemctl and without a running systemd.
"""

import posix
from stat import S_ISLNK

from agent.errors import GuestError, reason
from agent.guest import files

NAME = "azready.service"
PATH = "/etc/systemd/system"

# The order: not after network-online.target, because the agent waits for the way to the wireserver itself, and better; before all that lets people in.
# The sandbox: as tight as the work allows. IPAddressAllow names the two addresses of the platform; a unit with another --wireserver needs them changed.
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
ProtectClock=yes
ProtectControlGroups=yes
ProtectHome=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectSystem=strict
ReadWritePaths=-/etc -/var/lib
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service sethostname
IPAddressDeny=any
IPAddressAllow=168.63.129.16 169.254.169.254

[Install]
WantedBy=multi-user.target
"""


def unit(executable: str) -> str:
    """The text of the unit that runs `executable` (an absolute path inside the image)."""
    return _UNIT.format(executable=executable)


def disable(root: str) -> list[str]:
    """Remove every link below /etc/systemd/system that starts the unit; returns the places that were removed. Raises GuestError."""
    base = files.resolve(root, PATH)
    removed = []
    try:
        for directory in sorted(posix.listdir(base)):
            if directory.endswith((".wants", ".requires")):
                place = f"{base}/{directory}/{NAME}"
                if _is_link(place) and files.remove(place):
                    files.sync_directory(f"{base}/{directory}")
                    removed.append(place)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise GuestError(f"cannot disable {NAME} below {base}: {reason(error)}") from None
    return removed


def _is_link(place: str) -> bool:
    try:
        return S_ISLNK(posix.lstat(place).st_mode)
    except FileNotFoundError:
        return False
