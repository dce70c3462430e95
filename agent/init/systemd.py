"""systemd: the unit, and how it is taken out of the boot (systemd.service(5), systemd.exec(5), systemd.unit(5)).

Enabling is a symbolic link, so disabling works by removing it, without systemctl and without a running systemd.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.root import Root

NAME = "azready.service"
PATH = "/etc/systemd/system"
UNIT = f"{PATH}/{NAME}"
WANTS = f"{PATH}/multi-user.target.wants"
FOLDERS = (
    PATH,
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)  # of units: the administrator's, and those of packages

# Builders of images and, on some distributions, a first boot run `systemctl preset-all`, which disables what no preset enables.
PRESET = "/etc/systemd/system-preset/80-azready.preset"
DISABLED = "/var/lib/azready/disabled"
_MANAGERS = ("/usr/lib/systemd/systemd", "/lib/systemd/systemd")

_UNIT = """\
[Unit]
Description=Make this machine ready for Azure
# Not after network-online.target: azready waits for the way to the platform itself, and does not wait for other networks.
After=local-fs.target systemd-remount-fs.service
# Before all that lets people in: gettys and the users of an sshd that a socket starts come after systemd-user-sessions.service, the rest are
# names that distributions give to sshd. systemd-hostnamed.service is not here: it sees the new name by itself, and network managers that ask
# it for the name would have to wait for azready, which waits for the network.
Before=systemd-user-sessions.service ssh.service sshd.service sshd-keygen.target dropbear.service
# Where /etc is read-only, the link to this unit stays; azready makes this file instead when the work is done.
ConditionPathExists=!{disabled}

[Service]
Type=oneshot
ExecStart={executable} provision
RemainAfterExit=yes
TimeoutStartSec=25min
StandardOutput=journal+console

# As tight as the work allows. What is forbidden fails with EPERM, so that a helper program does without instead of dying. A customData script
# is run outside of this, by systemd-run. What stays open, and why:
# CAP_SYS_ADMIN, sethostname, @mount: the host name, and media that only the kernel can read. Hence no ProtectHostname= either.
# CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, /etc, /var/lib, /home: accounts, homes, keys. Hence no User=, PrivateUsers= and ProtectHome=.
CapabilityBoundingSet=CAP_SYS_ADMIN CAP_CHOWN CAP_DAC_OVERRIDE CAP_FOWNER
ProtectSystem=strict
ReadWritePaths=-/etc -/var/lib -/home
SystemCallFilter=@system-service @mount sethostname
SystemCallErrorNumber=EPERM
SystemCallArchitectures=native
# The network, for the platform alone; another wireserver needs another address here. AF_UNIX: the journal, and what useradd asks.
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
IPAddressDeny=any
IPAddressAllow=168.63.129.16 169.254.169.254
# Devices: the provisioning CD, whose driver may appear late. Hence no PrivateDevices= and DevicePolicy=.
LockPersonality=yes
MemoryDenyWriteExecute=yes
NoNewPrivileges=yes
PrivateMounts=yes
PrivateTmp=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes

[Install]
WantedBy=multi-user.target
"""


def unit(executable: str) -> str:
    """The text of the unit that runs `executable` (an absolute path inside the image)."""
    return _UNIT.format(executable=executable, disabled=DISABLED)


def is_used(root: "Root") -> bool:
    """Whether the image has systemd. Raises GuestError."""
    return any(root.exists(path) for path in _MANAGERS)


def place(root: "Root", unit_name: str = NAME) -> str:
    """The path of the unit that is there, as the image sees it; "" if there is none. Raises GuestError."""
    return next(
        (path for path in (f"{folder}/{unit_name}" for folder in FOLDERS) if root.exists(path)), ""
    )


def install(root: "Root", executable: str) -> bool:
    """Put the unit in place, and the preset; False if both were there as they are. Raises GuestError."""
    if is_masked(root, NAME):
        root.discard(UNIT)
    changed = False
    for path, text in ((UNIT, unit(executable)), (PRESET, f"enable {NAME}\n")):
        if root.read(path) != text.encode():
            root.replace(path, text.encode())
            changed = True
    return changed


def uninstall(root: "Root") -> bool:
    """Remove the unit and the preset; False if there was no unit. Raises GuestError."""
    root.discard(PRESET)
    return root.discard(UNIT)


def enable(root: "Root") -> bool:
    """Make the link that starts the unit at boot, wherever that is, as `systemctl enable` does; False if it was there. Raises GuestError."""
    unit_path = place(root)
    allowed = root.discard(DISABLED)
    return (
        root.link(f"{WANTS}/{NAME}", f"../{NAME}" if unit_path in (UNIT, "") else unit_path)
        or allowed
    )


def enabled(root: "Root") -> list[str]:
    """Every link below /etc/systemd/system that starts the unit, none if it is masked. Raises GuestError."""
    return [] if is_masked(root, NAME) else links(root, PATH, NAME)


def links(root: "Root", folder: str, unit_name: str) -> list[str]:
    """Every link below `folder` that starts a unit. Raises GuestError."""
    places = [
        f"{folder}/{directory}/{unit_name}"
        for directory in root.names(folder)
        if directory.endswith((".wants", ".requires"))
    ]
    return [place for place in places if root.is_link(place)]


def is_masked(root: "Root", unit_name: str) -> bool:
    """Whether a unit is switched off by a link to /dev/null. Raises GuestError."""
    return root.target(f"{PATH}/{unit_name}") == "/dev/null"


def disable(root: "Root") -> list[str]:
    """Remove every link that starts the unit; returns those that were there. Raises GuestError."""
    return [link for link in links(root, PATH, NAME) if root.discard(link)]
