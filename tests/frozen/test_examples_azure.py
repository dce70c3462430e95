"""The examples of dist-config/examples for Packer and for the way from a disk to a VM.

What can be run is run; the rest goes through the strictest tool that is there.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from agent.init import rivals
from agent.root import Root
from build.cache import BuildError
from scripts.tasks import guests, released
from tests.conftest import BUILT, TOP, shellcheck

EXAMPLES = TOP / "dist-config/examples"
PACKER, DISK = EXAMPLES / "packer", EXAMPLES / "disk-to-vm"
AGENTS = "cloud-init,waagent"
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="making and booting roots takes root")


def run(
    *words: str | pathlib.Path, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command, and show what it said if it fails."""
    done = subprocess.run(words, capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def image(place: pathlib.Path) -> pathlib.Path:
    """A Debian with both agents, all of whose files may be changed."""
    root = place / "root"
    run("cp", "-a", guests.debian("systemd", AGENTS), root)
    return guests.with_devices(root)


def inside(root: pathlib.Path, *words: str) -> str:
    """Run a command in it that sees no process and no network of this machine."""
    alone = ["unshare", "--net", "--mount", "--pid", "--fork", f"--mount-proc={root / 'proc'}"]
    path = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
    return run(*alone, "chroot", root, *words, env=path).stdout


@needs_root
def test_the_script_for_packer_leaves_azready_as_the_only_agent(tmp_path: pathlib.Path) -> None:
    root = image(tmp_path)
    inside(root, "useradd", "--create-home", "--user-group", "packer")
    (root / "etc/sudoers.d/waagent").write_text("packer ALL=(ALL) NOPASSWD: ALL\n")
    left = root / "etc/network/interfaces.d/50-cloud-init"
    left.parent.mkdir(parents=True, exist_ok=True)
    left.write_text("# names the network card\n")
    assert rivals.enabled(Root(str(root)))[0] == "cloud-init"
    BUILT["frozen"].command()
    shutil.copy(BUILT["frozen"].file, root / "tmp/azready")
    shutil.copy(PACKER / "image.sh", root / "tmp/script.sh")
    inside(root, "sh", "/tmp/script.sh")
    assert rivals.enabled(Root(str(root))) == ("", "")
    status = (root / "var/lib/dpkg/status").read_text()
    assert not re.search("^Package: (cloud-init|waagent)$", status, re.MULTILINE)
    wants = root / "etc/systemd/system/multi-user.target.wants"
    assert (wants / "azready.service").is_symlink()
    assert (wants / "systemd-networkd.service").is_symlink()
    assert (root / "usr/local/bin/azready").stat().st_mode & 0o777 == 0o755
    gone = ("home/packer", "etc/sudoers.d/waagent", "etc/waagent.conf", "etc/cloud", "tmp/azready")
    assert [path for path in gone if (root / path).exists()] == []
    assert not left.exists()
    assert "packer" not in (root / "etc/passwd").read_text()
    assert (root / "etc/machine-id").read_bytes() in (b"", b"uninitialized\n")


@pytest.mark.parametrize(
    "script", sorted(EXAMPLES.glob("packer/*.sh")) + sorted(EXAMPLES.glob("disk-to-vm/*.sh"))
)
def test_a_script_is_in_order(script: pathlib.Path) -> None:
    shellcheck(script)
    assert os.access(script, os.X_OK)


@pytest.mark.skipif(
    shutil.which("packer") is None,
    reason="packer is not installed (scripts/test installs it where it can)",
)
@pytest.mark.parametrize("change", ["", "vm_size", "inline"])
def test_packer_accepts_its_template(tmp_path: pathlib.Path, change: str) -> None:
    """And would say what is wrong; it asks nobody."""
    folder = shutil.copytree(PACKER, tmp_path / "packer")
    template = folder / "debian.pkr.hcl"
    text = template.read_text()
    if change:
        template.write_text(
            re.sub("script  .*image.sh.*" if change == "inline" else "vm_size", "wrong = 1", text)
        )
    given = {"subscription_id": "0" * 8, "resource_group": "demo", "azready": "/bin/true"}
    words = [word for name, value in given.items() for word in ("-var", f"{name}={value}")]
    done = subprocess.run(
        ["packer", "validate", *words, template],
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "CHECKPOINT_DISABLE": "1"},
    )
    assert (done.returncode == 0) == (not change), done.stdout + done.stderr
    run("packer", "fmt", "-check", PACKER)


@pytest.mark.skipif(
    shutil.which("qemu-img") is None,
    reason="qemu-img is not installed (scripts/test installs it where it can)",
)
@pytest.mark.parametrize("size", [3 * 2**20, 3 * 2**20 + 1, 5 * 2**20 - 512])
def test_the_vhd_is_one_that_azure_takes(tmp_path: pathlib.Path, size: int) -> None:
    """Its footer: Virtual Hard Disk Image Format Specification, 1.0."""
    disk, vhd, back = (tmp_path / name for name in ("disk.raw", "disk.vhd", "back.raw"))
    content = os.urandom(size)
    disk.write_bytes(content)
    run(DISK / "vhd.sh", disk, vhd)
    whole = -(-size // 2**20) * 2**20
    made = vhd.read_bytes()
    footer = made[-512:]
    assert len(made) == whole + 512
    assert made[:-512] == content.ljust(whole, b"\0")
    assert footer[:8] == b"conectix"
    assert int.from_bytes(footer[48:56], "big") == whole  # its current size
    assert int.from_bytes(footer[60:64], "big") == 2  # fixed
    run("qemu-img", "convert", "-f", "vpc", "-O", "raw", vhd, back)
    assert back.read_bytes() == made[:-512]


@pytest.fixture
def commands(tmp_path: pathlib.Path) -> list[list[str]]:
    """What the two scripts have `az` and `azcopy` do, one list of words for each."""
    folder, log = tmp_path / "bin", tmp_path / "log"
    folder.mkdir()
    for name in ("az", "azcopy"):
        (folder / name).write_text(
            f"#!/usr/bin/python3\nimport json, sys\n"
            f"print(json.dumps(['{name}', *sys.argv[1:]]), file=open('{log}', 'a'))\n"
            f"if 'grant-access' in sys.argv: print('https://example.org/disk?sas')\n"
        )
        (folder / name).chmod(0o755)
    (tmp_path / "disk.vhd").write_bytes(bytes(2**20 + 512))
    (tmp_path / "key.pub").write_text("ssh-ed25519 AAAA\n")
    env = {"PATH": f"{folder}:{os.environ['PATH']}"}
    run(DISK / "upload.sh", tmp_path / "disk.vhd", "demo", "westeurope", env=env)
    run(DISK / "vm.sh", "demo", tmp_path / "key.pub", env=env)
    return [json.loads(line) for line in log.read_text().splitlines()]


def test_the_disk_is_uploaded_before_an_image_is_made(commands: list[list[str]]) -> None:
    assert [" ".join(words[:3]) for words in commands if words[0] == "az"] == [
        "az group create",
        "az disk create",
        "az disk grant-access",
        "az disk revoke-access",
        "az image create",
        "az vm create",
        "az vm boot-diagnostics",
    ]
    (copy,) = (words for words in commands if words[0] == "azcopy")
    assert copy[3] == "https://example.org/disk?sas"
    (upload,) = (words for words in commands if "--upload-size-bytes" in words)
    assert upload[-1] == str(2**20 + 512)


@pytest.mark.skipif(
    shutil.which("az") is None,
    reason="az is not installed (scripts/test installs it where it can)",
)
def test_az_knows_every_option(commands: list[list[str]], tmp_path: pathlib.Path) -> None:
    """It reads its options before it asks who is there; nobody is logged in."""
    told = {"PATH": os.environ["PATH"], "AZURE_CONFIG_DIR": str(tmp_path / "az"), "HOME": "/root"}
    told["AZURE_CORE_COLLECT_TELEMETRY"] = "no"

    def said(words: list[str]) -> str:
        return subprocess.run(words, capture_output=True, text=True, env=told).stderr.strip()

    for words in commands:
        if words[0] == "az":
            assert re.fullmatch(r"ERROR: Please run 'az login' to setup account\.", said(words))
    wrong = ["az", "vm", "create", "-g", "demo", "-n", "a", "--image", "b", "--enable-agents", "no"]
    assert "unrecognized arguments: --enable-agents" in said(wrong)


@pytest.mark.skipif(shutil.which("terraform") is None, reason="terraform is no package of Debian")
def test_terraform_can_read_its_file(tmp_path: pathlib.Path) -> None:
    config = {"PATH": os.environ["PATH"], "CHECKPOINT_DISABLE": "1", "HOME": str(tmp_path)}
    run("terraform", "fmt", "-check", "-diff", DISK, env=config)
    (tmp_path / "main.tf").write_text((DISK / "main.tf").read_text().replace("}", "", 1))
    done = subprocess.run(["terraform", "fmt", "-check", tmp_path], capture_output=True, env=config)
    assert done.returncode == 2


PARSERS = {
    "main.tf": "import hcl2; tree = hcl2.loads(text)",
    "main.bicep": "import pycep; tree = pycep.BicepParser().parse(text=text)",
}


def parsed(name: str, text: str) -> Any:
    """What is in a file, by a parser of its language."""
    try:
        python = released.judges() / "python"
    except BuildError as error:
        pytest.skip(str(error))
    program = f"import json, sys; text = sys.stdin.read(); {PARSERS[name]}; print(json.dumps(tree))"
    done = subprocess.run([python, "-c", program], input=text, capture_output=True, text=True)
    return json.loads(done.stdout) if done.returncode == 0 else None


def values(tree: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Each (key, text) in a tree, but for the parts of a name behind its first."""
    if isinstance(tree, dict):
        for name, value in tree.items():
            if name != "operand_2":
                yield from values(value, name)
    elif isinstance(tree, list):
        for value in tree:
            yield from values(value, key)
    elif isinstance(tree, str):
        yield key, tree


def undeclared(name: str, tree: Any) -> set[str]:
    """What a file refers to without declaring it."""
    if name == "main.bicep":
        used = {text for key, text in values(tree) if key == "operand_1"}
        return used - {*tree["parameters"], *tree["resources"]}
    text = " ".join(text for _, text in values(tree) if text.startswith("${"))
    kinds = {"variable": "var.", "data": "data.", "resource": ""}
    declared = set()
    for kind, prefix in kinds.items():
        for block in tree[kind]:
            for first, body in block.items():
                names = [f".{second}" for second in body] if kind != "variable" else [""]
                declared |= {f"{prefix}{first}{second}".replace('"', "") for second in names}
    used = set(re.findall(r"var\.\w+|data\.\w+\.\w+|(?<!\.)azurerm_\w+\.\w+", text))
    unused = {name for name in declared - used if name.startswith("var.")}
    return (used - declared) | unused


@pytest.mark.parametrize(
    ("name", "change", "wrong"),
    [
        ("main.tf", ("var.user\n", "var.usr\n"), {"var.user", "var.usr"}),
        ("main.tf", ("azurerm_image.image.id", "azurerm_image.img.id"), {"azurerm_image.img"}),
        ("main.bicep", ("id: disk.id", "id: disc.id"), {"disc"}),
    ],
)
def test_a_file_refers_to_what_it_declares(
    name: str, change: tuple[str, str], wrong: set[str]
) -> None:
    text = (DISK / name).read_text()
    assert undeclared(name, parsed(name, text)) == set()
    assert undeclared(name, parsed(name, text.replace(*change))) == wrong
    assert parsed(name, text.replace("}", "", 1)) is None


def test_bicep_describes_a_vm_without_an_agent() -> None:
    resources = parsed("main.bicep", (DISK / "main.bicep").read_text())["resources"]
    profile = resources["vm"]["config"]["properties"]["osProfile"]
    assert profile["allowExtensionOperations"] is False
    assert profile["linuxConfiguration"]["provisionVMAgent"] is False
    assert resources["disk"]["existing"] is True
    assert all(found["api_version"] for found in resources.values())


def test_the_agent_is_switched_off_wherever_a_vm_is_described() -> None:
    off = {
        "vm.sh": "--enable-agent false",
        "main.bicep": "provisionVMAgent: false",
        "main.tf": "provision_vm_agent         = false",
    }
    for name, words in off.items():
        assert words in (DISK / name).read_text()
