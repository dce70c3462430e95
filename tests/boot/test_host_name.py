"""Real DHCP clients that got their lease under an old name: the server learns the new one.

The server is asked for nothing else, no lease is given back, and the address is there all the time.
"""

import pathlib
import subprocess
import sys

import pytest

from tests.boot import lab
from tests.conftest import FROZEN
from tests.network import WHY_NOT, network

pytestmark = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)
RIGHTS = "--capability=CAP_NET_ADMIN,CAP_NET_RAW"  # which a virtual machine has
# azready in its sandbox, once the client has its lease.
LAB = """
[Service]
ExecStartPre=/bin/sh -c 'until ip -4 addr show dev eth0 | grep -q 10.9.0; do sleep .1; done; sleep 1'
ExecStart=
ExecStart=/usr/local/bin/azready provision --force --verbose
StandardOutput=append:/var/lib/said
StandardError=inherit
"""
SERVICE = "[Service]\nType={kind}\nExecStart={words}\n"
BOUND = """#!/bin/sh
case "$1" in
    deconfig) ip addr flush dev eth0; ip link set eth0 up ;;
    bound | renew) ip addr replace "$ip/24" dev eth0; ip route replace default via "$router" ;;
esac
"""
NETWORK = "[Match]\nName=eth0\n[Network]\nDHCP=ipv4\n"
KEYFILE = (
    "[connection]\nid=e\ntype=ethernet\ninterface-name=eth0\n[ipv4]\nmethod=auto\n"
    "[ipv6]\nmethod=disabled\n"
)
# client -> (unit, its text or "" where the distribution has one, files)
CLIENTS = {
    "systemd-networkd": (
        "systemd-networkd",
        "",
        {"etc/systemd/network/eth0.network": NETWORK},
    ),
    "NetworkManager": (
        "NetworkManager",
        "",
        {"etc/NetworkManager/system-connections/e.nmconnection": KEYFILE},
    ),
    "dhcpcd": (
        "client",
        SERVICE.format(kind="forking", words="/usr/sbin/dhcpcd --ipv4only --noarp --waitip eth0"),
        {"etc/dhcpcd.conf": "hostname\noption classless_static_routes, routers\n"},
    ),
    "dhclient": (
        "client",
        # As ifupdown starts it.
        SERVICE.format(
            kind="forking",
            words="/sbin/dhclient -4 -v -i -pf /run/dhclient.eth0.pid "
            "-lf /var/lib/dhcp/dhclient.eth0.leases -I "
            "-df /var/lib/dhcp/dhclient6.eth0.leases eth0",
        ),
        {},
    ),
    "udhcpc": (
        "client",
        # As ifupdown of busybox starts it.
        SERVICE.format(
            kind="exec",
            words="/bin/busybox udhcpc -f -R -b -O search -p /run/udhcpc.eth0.pid -i eth0 "
            "-x hostname:old -s /bound",
        ),
        {"bound": BOUND},
    ),
}


def with_client(place: pathlib.Path, client: str) -> pathlib.Path:
    """A root that boots with this client, and azready in its sandbox."""
    root = lab.root_with("clients", place)
    (root / "etc/machine-id").write_bytes(b"")
    (root / "etc/hostname").write_text("old\n")
    unit, text, files = CLIENTS[client]
    if text:
        (root / f"etc/systemd/system/{unit}.service").write_text(text)
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(content)
        (root / path).chmod(0o755 if path == "bound" else 0o600 if "Manager" in path else 0o644)
    wants = root / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir(exist_ok=True)
    for other in ("dhcpcd", "NetworkManager", "systemd-networkd"):
        (wants / f"{other}.service").unlink(missing_ok=True)
    folder = "/etc" if text else "/lib"
    (wants / f"{unit}.service").symlink_to(f"{folder}/systemd/system/{unit}.service")
    subprocess.run([FROZEN, "install", "--root", root], check=True, capture_output=True)
    lab.prepare(root, "systemd", "/usr/local/bin/azready")
    (root / "etc/systemd/system/azready.service.d/lab.conf").write_text(LAB)
    (root / "etc/azready.toml").write_text('dhcp = "never"\nmedia.wait = 0\n')
    return root


@pytest.mark.parametrize("client", CLIENTS)
def test_the_server_learns_the_new_name(client: str, tmp_path: pathlib.Path) -> None:
    root = with_client(tmp_path, client)
    with network() as net:
        platform, served = net.simulator(), net.dnsmasq()
        seen = net.start(["ip", "monitor", "address"], net.guest)
        # dhcpcd writes to /proc/sys/net.
        words = ["env", "SYSTEMD_NSPAWN_API_VFS_WRITABLE=network", sys.executable, "-m"]
        words += ["scripts.tasks.nspawn", str(root), RIGHTS]
        console = net.start(words, net.guest).communicate(timeout=120)[0]
        served.terminate()
        asked = served.communicate(timeout=10)[0]
        seen.terminate()
        changed = seen.communicate(timeout=10)[0]
        said = (root / "var/lib/said").read_text() if (root / "var/lib/said").exists() else console
        assert f"renew the lease of eth0 ({client}) under the new host name" in said, said
        assert "warning" not in said
        assert platform.communicate(timeout=10)[0] == "['Ready'] []\n"
    names = [line.rpartition(" ")[2] for line in asked.splitlines() if "provides name" in line]
    assert names[0] == "old"
    assert names[-1] == "web-1"
    ends = [line for line in asked.splitlines() if "DHCPACK(p0)" in line]
    assert ends[-1].endswith(" web-1"), asked
    for bad in ("DHCPRELEASE", "DHCPNAK", "DHCPDECLINE"):
        assert bad not in asked
    leases = {line.split("DHCPACK(p0) ")[1].split()[0] for line in ends}
    assert len(leases) == 1, "another address"
    assert f"Deleted 2: eth0    inet {leases.pop()}" not in changed.replace("\\", ""), changed
