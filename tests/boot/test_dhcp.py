"""A real systemd, its sandbox for azready, and no DHCP client at all: the image becomes Ready."""

import pathlib
import shutil
import subprocess
import sys

import pytest

from tests.boot import lab
from tests.conftest import FROZEN
from tests.network import WHY_NOT, network

pytestmark = [
    pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT),
    pytest.mark.skipif(not shutil.which("dnsmasq"), reason="dnsmasq is not installed"),
]
RIGHTS = "--capability=CAP_NET_ADMIN,CAP_NET_RAW"  # which a virtual machine has
# The unit as it is, but that the test machine has no DMI and its log is read afterwards.
LAB = """
[Service]
ExecStart=
ExecStart=/usr/local/bin/azready provision --force --verbose
StandardOutput=append:/var/lib/said
StandardError=inherit
"""


def test_an_image_with_systemd_and_no_dhcp_client_becomes_ready(tmp_path: pathlib.Path) -> None:
    root = lab.root_with("systemd", tmp_path)
    subprocess.run([FROZEN, "install", "--root", root], check=True, capture_output=True)
    lab.prepare(root, "systemd", "/usr/local/bin/azready")
    (root / "etc/systemd/system/azready.service.d/lab.conf").write_text(LAB)
    (root / "etc/azready.toml").write_text("dhcp_grace = 1\nmedia.wait = 0\n")
    with network() as net:
        platform = net.simulator()
        net.dnsmasq("--dhcp-option=121,0.0.0.0/0,10.9.0.1")
        words = [sys.executable, "-m", "scripts.tasks.nspawn", str(root), RIGHTS]
        console = net.start(words, net.guest).communicate(timeout=120)[0]
        said = (root / "var/lib/said").read_text()
        assert "nobody has configured the network: running azready lease" in said, console
        assert "] eth0 has 10.9.0." in said
        assert "provisioned: Ready was reported and accepted" in said
        assert platform.communicate(timeout=10)[0] == "['Ready'] []\n"
