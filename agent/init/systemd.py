"""systemd: the unit, and how it is disabled (systemd.service(5), systemd.exec(5), systemd.unit(5)).

Enabling is a symbolic link, so disabling works by removing it, without systemctl and without a
running systemd.
"""

from agent.change import Change, discarding
from agent.errors import GuestError
from agent.init import scripts
from agent.init.scripts import Scripts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.root import Root

NAME = "azready.service"
PATH = "/etc/systemd/system"
UNIT = f"{PATH}/{NAME}"
WANTS = f"{PATH}/multi-user.target.wants"
# Of units: the administrator's, and those of packages.
FOLDERS = (PATH, "/usr/lib/systemd/system", "/lib/systemd/system")

# Builders of images and, on some distributions, a first boot run `systemctl preset-all`, which
# disables what no preset enables.
PRESET = "/etc/systemd/system-preset/80-azready.preset"
# The same of a vendor's image (bootc, OSTree), whose /etc belongs to the administrator alone.
VENDOR = "/usr/lib/systemd/system"
VENDOR_LINK = f"{VENDOR}/multi-user.target.wants/{NAME}"
VENDOR_PRESET = "/usr/lib/systemd/system-preset/80-azready.preset"
DISABLED = "/var/lib/azready/disabled"
_MANAGERS = ("/usr/lib/systemd/systemd", "/lib/systemd/systemd")

_UNIT = """\
[Unit]
Description=Make this machine ready for Azure
Documentation=man:azready(8)
# As early as its work allows, not after sysinit.target and basic.target: it waits for devices and
# sockets itself. It writes to /etc, /var and /home, which local-fs.target mounts; adds an account,
# after those of the system; and keeps what it writes from being made anew.
DefaultDependencies=no
Conflicts=shutdown.target
Before=shutdown.target
After=local-fs.target systemd-remount-fs.service
After=systemd-sysusers.service systemd-firstboot.service systemd-tmpfiles-setup.service
# Not after network-online.target: azready itself waits for a route to the platform, and does not
# wait for other networks.
# Before everything that lets people in: gettys, and users of a socket-activated sshd, come after
# systemd-user-sessions.service; the others are names that distributions give to sshd. Not before
# systemd-hostnamed.service: it notices the new name, and network managers that ask it for the name
# would have to wait for azready, which waits for the network.
Before=systemd-user-sessions.service ssh.service sshd.service sshd-keygen.target dropbear.service
# The Azure Linux agent, if it is there for extensions, reports Ready as soon as it starts.
Before=walinuxagent.service waagent.service
# If /etc is read-only, the link to this unit stays, and azready creates this file after its work.
ConditionPathExists=!/var/lib/azready/disabled

[Service]
# Started, so that the units above start, once the user can log in by what the provisioning CD says,
# or else once only the report to the platform is left: nobody is locked out while the platform is
# silent. customData is saved by then. `systemctl status` says what azready is doing.
Type=notify
NotifyAccess=main
ExecStart={executable} provision
RemainAfterExit=yes
TimeoutStartSec=25min
# Told to stop, azready ends its programs, and takes at most 20 s to report that.
KillMode=mixed
TimeoutStopSec=30s
StandardOutput=journal+console

# As tight as the work allows. Forbidden calls fail with EPERM, so that helper programs can go on
# without them. systemd-run runs a customData script outside of this sandbox. Still allowed:
# CAP_SYS_ADMIN, sethostname, @mount: the host name, and media that only the kernel can read. Hence
# no ProtectHostname=.
# CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, /etc, /var/lib, /home: accounts, homes, keys. Hence no
# User=, PrivateUsers= and ProtectHome=.
# Not allowed: CAP_NET_ADMIN, CAP_NET_RAW and AF_PACKET, for a lease where there is no DHCP client.
# `systemd-analyze security` would show 3.4 instead of 2.9, for what few images with systemd need;
# in these, systemd-run runs `azready lease` outside of this sandbox.
CapabilityBoundingSet=CAP_SYS_ADMIN CAP_CHOWN CAP_DAC_OVERRIDE CAP_FOWNER
ProtectSystem=strict
ReadWritePaths=-/etc -/var/lib -/home
# The lock, which must outlive this unit: a run by hand may hold it.
RuntimeDirectory=azready
RuntimeDirectoryMode=0700
RuntimeDirectoryPreserve=yes
SystemCallFilter=@system-service @mount sethostname
SystemCallErrorNumber=EPERM
SystemCallArchitectures=native
# The network, for the platform only; another wireserver needs another address here. AF_UNIX: the
# journal, systemd itself, and the services that useradd asks. AF_NETLINK: links and routes.
RestrictAddressFamilies=AF_INET AF_INET6 AF_NETLINK AF_UNIX
IPAddressDeny=any
IPAddressAllow=168.63.129.16 169.254.169.254
# Devices: the provisioning CD, whose driver may appear late. Hence no PrivateDevices=. Without a
# list, ProtectClock= would forbid all devices but the clock (systemd 245 to 252, issue 18142).
DevicePolicy=closed
DeviceAllow=block-* r
# A core dump would hold the password.
LimitCORE=0
# The login and the report wait for this, and most of what else is started early does not. Host keys
# are made at low priority until they are waited for: it may be raised to this again.
Nice=-10
LimitNICE=-10
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


class _Systemd(Scripts):
    others = (VENDOR_LINK,)

    def unit(self, executable: str) -> str:
        """Return the text of the unit alone."""
        return self.contents(executable)[UNIT]

    def place(self, root: "Root") -> str:
        """Return the path of the unit, the administrator's or a package's, "" without."""
        return place(root, NAME)

    def writing(self, root: "Root", executable: str) -> "Iterator[Change]":
        """Yield the unit and the preset. A masked unit is unmasked first."""
        masked = is_masked(root, NAME)
        if masked:
            yield Change(f"unmask {NAME}", lambda: root.discard(UNIT))
        for path, text in self.contents(executable).items():
            if (masked and path == UNIT) or root.read(path) != text.encode():
                yield scripts.write(root, path, text, self.mode)

    def enabling(self, root: "Root") -> "Iterator[Change]":
        """Yield the link of `systemctl enable`, wherever the unit is."""
        if root.status(DISABLED, follow=False) is not None:
            yield discarding(root, DISABLED)
        link = f"{WANTS}/{NAME}"
        if not root.is_link(link) and not root.is_link(VENDOR_LINK):
            unit = place(root, NAME)
            target = f"../{NAME}" if unit in (UNIT, "") else unit
            text = f"enable azready for the next boot: {link}"
            yield Change(text, lambda: root.link(link, target))

    def may_be_enabled(self, there: "set[str]") -> bool:
        """Its links may be anywhere."""
        return True

    def enabled(self, root: "Root") -> "list[str]":
        """Return every link that starts the unit, none if masked.

        The vendor's stays, and counts until a file says otherwise.
        """
        if is_masked(root, NAME):
            return []
        by_vendor = root.is_link(VENDOR_LINK) and not root.exists(DISABLED)
        return links(root, PATH, NAME) + [VENDOR_LINK] * by_vendor

    def entries(self, root: "Root") -> "list[str]":
        """Return every link, also of a masked unit: without the mask it starts the unit again."""
        return links(root, PATH, NAME)

    def removing(self, root: "Root") -> "Iterator[Change]":
        """Yield the removal of unit and preset; a package's unit is the package's."""
        if not self.place(root):
            return
        for path in (UNIT, PRESET):
            if root.status(path, follow=False) is not None:
                yield discarding(root, path)


class _Vendor(Scripts):
    def writing(self, root: "Root", executable: str) -> "Iterator[Change]":
        """Yield the unit and the preset. Raises GuestError if the administrator masks the unit."""
        if is_masked(root, NAME):
            raise GuestError(f"{NAME} is masked, and /etc is left as it is: remove {UNIT}")
        yield from super().writing(root, executable)

    def enabling(self, root: "Root") -> "Iterator[Change]":
        """Yield the vendor's link, and the removal of the file that would keep it from counting."""
        if root.status(DISABLED, follow=False) is not None:
            yield discarding(root, DISABLED)
        yield from super().enabling(root)


def is_used(root: "Root") -> bool:
    """Tell whether the image has systemd. Raises GuestError."""
    return any(root.exists(path) for path in _MANAGERS)


def place(root: "Root", unit_name: str) -> str:
    """Return the path of a unit, as the image sees it, "" without. Raises GuestError."""
    paths = (f"{folder}/{unit_name}" for folder in FOLDERS)
    return next((path for path in paths if root.exists(path)), "")


def links(root: "Root", folder: str, unit_name: str) -> "list[str]":
    """Return every link below `folder` that starts a unit. Raises GuestError."""
    places = [
        f"{folder}/{directory}/{unit_name}"
        for directory in root.names(folder)
        if directory.endswith((".wants", ".requires"))
    ]
    return [place for place in places if root.is_link(place)]


def is_masked(root: "Root", unit_name: str) -> bool:
    """Tell whether a unit is disabled by a link to /dev/null. Raises GuestError."""
    return root.target(f"{PATH}/{unit_name}") == "/dev/null"


SYSTEM = _Systemd(
    name="systemd",
    title="systemd",
    files=f"`{UNIT}`, and a preset",
    enabled_by="link in `multi-user.target.wants`",
    init="systemd",
    mode=0o644,
    texts={UNIT: _UNIT, PRESET: f"enable {NAME}\n"},
    vendor=_Vendor(
        name="systemd",
        title="systemd, in a vendor's image",
        files=f"`{VENDOR}/{NAME}`, and a preset",
        enabled_by="link in `multi-user.target.wants`",
        mode=0o644,
        texts={f"{VENDOR}/{NAME}": _UNIT, VENDOR_PRESET: f"enable {NAME}\n"},
        links={VENDOR_LINK: f"../{NAME}"},
    ),
)
