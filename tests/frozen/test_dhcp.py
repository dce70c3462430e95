"""An image with nothing in it, not even a DHCP client, becomes Ready."""

import pathlib
import shutil
import subprocess
import time
from collections.abc import Iterator

import pytest

from tests.conftest import FROZEN
from tests.network import WHY_NOT, Network, network

pytestmark = [
    pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT),
    pytest.mark.skipif(not shutil.which("dnsmasq"), reason="dnsmasq is not installed"),
]
EVERYWHERE = "--dhcp-option-force=245,a8:3f:81:10"
ROUTES = "--dhcp-option=121,0.0.0.0/0,10.9.0.1,168.63.129.16/32,10.9.0.1"


@pytest.fixture
def net() -> Iterator[Network]:
    with network() as made:
        yield made


@pytest.fixture
def image(tmp_path: pathlib.Path) -> pathlib.Path:
    for name in ("dev", "etc", "proc", "sys"):
        (tmp_path / name).mkdir()
    shutil.copy(FROZEN, tmp_path / "azready")
    return tmp_path


def start(net: Network, image: pathlib.Path, *words: str) -> "subprocess.Popen[str]":
    script = 'mount -t sysfs none "$0/sys"; mount -t proc none "$0/proc"; exec chroot "$0" "$@"'
    return net.start(["sh", "-c", script, str(image), "/azready", *words], net.guest)


def boot(net: Network, image: pathlib.Path, *words: str) -> tuple[int, str]:
    process = start(net, image, "provision", "--force", *words)
    text = process.communicate(timeout=60)[0]
    return process.returncode, text


def test_an_image_without_a_dhcp_client_becomes_ready(net: Network, image: pathlib.Path) -> None:
    platform, served = net.simulator(), net.dnsmasq(EVERYWHERE, ROUTES, "--dhcp-option=6,10.9.0.1")
    started = time.monotonic()
    code, text = boot(net, image, "--deadline", "30")
    assert code == 0, text
    assert 5 <= time.monotonic() - started < 15  # the grace
    assert "] eth0 has 10.9.0." in text
    assert "and 2 routes from the DHCP server 10.9.0.1; the lease does not end" in text
    assert "provisioned: Ready was reported and accepted" in text
    assert platform.communicate(timeout=10)[0] == "['Ready'] []\n"
    assert "168.63.129.16 via 10.9.0.1 dev eth0 proto dhcp" in net.ip("route")
    assert "nameserver 10.9.0.1" in (image / "etc/resolv.conf").read_text()
    served.terminate()
    assert "client provides name: web-1" in served.communicate(timeout=10)[0]


def test_option_245_names_the_wireserver(net: Network, image: pathlib.Path) -> None:
    net.ip("addr add 10.9.0.9/32 dev lo", net.platform)
    platform = net.simulator("10.9.0.9")
    net.dnsmasq("--dhcp-option-force=245,0a:09:00:09", ROUTES)
    code, text = boot(net, image, "--deadline", "30", "--dhcp", "now")
    assert code == 0, text
    assert "the DHCP server names 10.9.0.9 as the wireserver" in text
    assert platform.communicate(timeout=10)[0] == "['Ready'] []\n"


def test_without_leave_nothing_is_asked_or_changed(net: Network, image: pathlib.Path) -> None:
    net.simulator()
    served = net.dnsmasq()
    before = net.ip("addr show dev eth0")
    settings = 'dhcp = "never"\nsteps.profile = false\nsteps.user = false\nmedia.wait = 0\n'
    (image / "etc/azready.toml").write_text(settings)
    code, text = boot(net, image, "--deadline", "8")
    assert code == 3, text
    assert "looking for a DHCP server" not in text
    assert net.ip("addr show dev eth0") == before
    served.terminate()
    assert "DHCPDISCOVER" not in served.communicate(timeout=10)[0]


def test_a_rehearsal_says_it_and_does_nothing(net: Network, image: pathlib.Path) -> None:
    before = net.ip("addr show dev eth0")
    process = start(net, image, "provision", "--force", "--dry-run", "--deadline", "4")
    text = process.communicate(timeout=60)[0]
    assert "would ask for a lease on eth0 (DHCP), if nobody else does within 5 s" in text
    assert net.ip("addr show dev eth0") == before


def test_a_lease_alone(net: Network, image: pathlib.Path) -> None:
    net.dnsmasq("--dhcp-range=10.9.0.50,10.9.0.60,255.255.255.0,300")
    process = start(net, image, "lease")
    text = process.communicate(timeout=60)[0]
    assert process.returncode == 0, text
    assert "the lease ends in 300 s" in text
    again = start(net, image, "lease")
    text = again.communicate(timeout=60)[0]
    assert again.returncode == 0
    assert "somebody else configures the network (10.9.0." in text


def test_no_lease_is_a_failure(net: Network, image: pathlib.Path) -> None:
    process = start(net, image, "lease", "--deadline", "2")
    text = process.communicate(timeout=60)[0]
    assert process.returncode == 1
    assert "no DHCP: no server on eth0 gave a lease" in text
