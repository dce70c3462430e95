"""The table of faults, and what judges a disk; the boots are those of `scripts/boot --faults`."""

import pathlib
from unittest import mock

import pytest

from scripts.bootlab import LabError, cloud, dhcp, powercuts
from scripts.bootlab.checks import Result
from scripts.bootlab.faults import FAULTS
from scripts.bootlab.trial import CHECK, Fault, Trial
from scripts.tasks import boot, guests

PASSWD = "root:x:0:0:root:/root:/bin/bash\nazureuser:x:1000:1000::/home/azureuser:/bin/bash\n"


def trial_of(name: str, folder: pathlib.Path, seed: int = 7) -> Trial:
    return Trial(FAULTS[name], FAULTS[name].guests[0], folder, seed=seed)


@pytest.fixture
def etc(tmp_path: pathlib.Path) -> pathlib.Path:
    """The part of a whole /etc that is judged."""
    folder = tmp_path / "etc"
    (folder / "ssh").mkdir(parents=True)
    (folder / "passwd").write_text(PASSWD)
    (folder / "shadow").write_text("root:*:19000:0:99999:7:::\n")
    (folder / "group").write_text("root:x:0:\n")
    (folder / "gshadow").write_text("root:*::\n")
    (folder / "hostname").write_text("lab-1\n")
    (folder / "hosts").write_text("127.0.0.1 localhost\n")
    return folder


def test_the_same_seed_makes_the_same_moments(tmp_path: pathlib.Path) -> None:
    first, again, other = (
        [trial_of("power-cut", tmp_path, seed).random.random() for _ in range(1)]
        for seed in (7, 7, 8)
    )
    assert first == again
    assert first != other


def test_every_trial_has_a_folder_and_a_name_of_its_own(tmp_path: pathlib.Path) -> None:
    pairs = [(fault, guest) for fault in FAULTS.values() for guest in fault.guests]
    names = {Trial(fault, guest, tmp_path).name for fault, guest in pairs}
    assert len(names) == len(pairs)


def test_whole_account_files_are_accepted(etc: pathlib.Path, tmp_path: pathlib.Path) -> None:
    powercuts.judge_accounts(trial_of("power-cut", tmp_path), etc)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("passwd", ""),
        ("passwd", PASSWD[:-20]),
        ("shadow", "root:*:19000:0:99999:7:::\nazureuser:!:19"),
        ("group", "azureuser:x:1000:\n"),
        ("hostname", ""),
        ("hostname", "lab"),
        ("hosts", ""),
        ("sudoers.d/90-azready", ""),
        ("sudoers.d/90-azready", "azureuser ALL=(ALL) NOPASS"),
    ],
)
def test_half_written_files_are_found(
    name: str, text: str, etc: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    (etc / name).parent.mkdir(exist_ok=True)
    (etc / name).write_text(text)
    with pytest.raises(LabError):
        powercuts.judge_accounts(trial_of("power-cut", tmp_path), etc)


def test_whole_host_keys_are_counted_and_others_found(
    etc: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    trial, key = trial_of("power-cut", tmp_path), etc / "ssh/ssh_host_ed25519_key"
    assert powercuts.judge_keys(trial, key.parent) == 0
    guests.make_key(key, "a host")
    assert powercuts.judge_keys(trial, key.parent) == 1
    whole, public = key.read_bytes(), key.with_suffix(".pub").read_bytes()
    key.with_suffix(".pub").write_bytes(public[:40])
    with pytest.raises(LabError, match="public half"):
        powercuts.judge_keys(trial, key.parent)
    key.with_suffix(".pub").write_bytes(public)
    for half in (b"", whole[: len(whole) // 2]):
        key.write_bytes(half)
        with pytest.raises(LabError):
            powercuts.judge_keys(trial, key.parent)
    key.write_bytes(whole)
    key.chmod(0o644)
    with pytest.raises(LabError, match="mode 644"):
        powercuts.judge_keys(trial, key.parent)


@pytest.mark.parametrize(
    ("reports", "state"),
    [
        (["Ready"], "passed"),
        (["Ready", "Ready"], "passed"),  # a power cut came before the marker
        ([], "failed"),
        (["Ready", "ProvisioningFailed"], "failed"),
        (["ProvisioningFailed", "Ready"], "failed"),
    ],
)
def test_what_was_accepted_is_judged(
    reports: list[str], state: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("__enter__", "__exit__", "serve"):
        monkeypatch.setattr(cloud.Cloud, name, lambda *_: None)
    monkeypatch.setattr(cloud.Cloud, "reports", lambda *_: reports)
    guest = FAULTS["no-cd"].guests[0]
    trial = Trial(Fault("none", "nothing", (guest,), lambda _: None), guest, tmp_path)
    trial.run()
    assert trial.results[CHECK].state == state


def test_another_report_than_ready_is_not_waited_out(tmp_path: pathlib.Path) -> None:
    trial = trial_of("no-cd", tmp_path)
    machine = mock.Mock(started=100.0)
    exchange = mock.Mock(report="ProvisioningFailed", description="a full disk")
    trial.cloud.events.append(cloud.Event(130.0, http=exchange))
    with pytest.raises(LabError, match="ProvisioningFailed: a full disk"):
        trial.ready(machine)
    trial.cloud.events[:] = [cloud.Event(99.0, http=exchange)]  # of the boot before
    trial.cloud.events.append(cloud.Event(130.0, http=mock.Mock(report="Ready")))
    assert trial.ready(machine) == 130.0
    assert trial.results["Ready"] == Result("passed", seconds=30.0)


def test_the_time_to_ready_begins_where_only_the_platform_is_needed(tmp_path: pathlib.Path) -> None:
    trial = trial_of("no-cd", tmp_path)
    machine = mock.Mock(started=100.0, lines=[(5.0, "azready: provisioning CD: /dev/sr0")])
    offer = mock.Mock(kind="discover", answered=True)
    lease, renewal = (mock.Mock(kind="request", answered=True) for _ in range(2))
    asked = [(110.0, offer), (111.0, lease), (140.0, renewal)]
    trial.cloud.events += [cloud.Event(at, asked=message) for at, message in asked]
    assert trial.free(machine) == 111.0
    machine.lines.append((30.0, "azready: generate host keys for sshd (ecdsa, ed25519)"))
    machine.lines.append((50.0, "azready: generate host keys for sshd (rsa)"))
    assert trial.free(machine) == 130.0


def test_a_fault_is_a_row_of_the_table_and_a_suite_of_junit(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trial = trial_of("dhcp-late", tmp_path)
    trial.results = {"Ready": Result("passed", seconds=41.5), CHECK: Result("failed", "too late")}
    boot.table([trial])
    boot.write([trial], tmp_path / "results.xml")
    text = (tmp_path / "results.xml").read_text()
    assert '<testsuite name="systemd dhcp-late" tests="2" failures="1"' in text
    assert '<failure message="too late">' in text
    assert "systemd dhcp-late: fault: too late" in capsys.readouterr().out


def test_a_mac_may_get_a_lease_without_routes() -> None:
    request = bytes(28) + bytes.fromhex("000d3aabcdef") + bytes(210)
    settings = dhcp.Settings()
    server = object.__new__(dhcp.Server)
    server.settings = settings
    with_routes = server._message(2, request, "10.0.0.5")
    settings.without_routes = ("00:0d:3a:ab:cd:ef",)
    without = server._message(2, request, "10.0.0.5")
    for code in (3, 121, 249):
        assert code in dhcp._options(with_routes[240:])
        assert code not in dhcp._options(without[240:])
