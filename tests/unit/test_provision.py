"""Provision against the simulator, in this process: what the scenarios cannot show."""

import dataclasses
import json
import os
import pathlib
import signal
from collections.abc import Iterator

import pytest

from agent import __version__, signals
from agent.azure import http
from agent.azure.retry import Deadline
from agent.boot import Boot
from agent.change import Change, Step
from agent.commands import check, common, failure
from agent.commands.failure import ProvisioningFailed
from agent.commands.provision import provision
from agent.errors import GuestError
from agent.formats import hosts
from agent.lock import Busy, Lock
from agent.log import LONGEST
from agent.machine import identity, network
from agent.profile import Profile
from agent.protocol import kvp
from agent.root import Root
from agent.settings import Config
from agent.steps import EARLY, state
from agent.steps.kvp import KVP
from scripts.simulator import media, scenario
from scripts.simulator.server import Exchange, Simulator
from tests.conftest import Lines

VM_ID = scenario.VM().vm_id
CONFIG = Config({"media.wait": 0, "steps.user": os.geteuid() == 0})  # making a user takes root
DIRECTORY = Config().state_directory


@pytest.fixture
def platform() -> Iterator[Simulator]:
    with Simulator(scenario.load("healthy")) as simulator:
        yield simulator


@pytest.fixture
def root(tmp_path: pathlib.Path) -> pathlib.Path:
    dmi = tmp_path / "sys/class/dmi/id"
    dmi.mkdir(parents=True)
    (dmi / "chassis_asset_tag").write_text(identity.AZURE_ASSET_TAG)
    (dmi / "product_uuid").write_text(VM_ID.upper())
    (tmp_path / "sys/firmware/efi").mkdir(parents=True)
    return tmp_path


def boot(
    platform: Simulator,
    root: pathlib.Path,
    log: Lines,
    *,
    force: bool = False,
    rehearsing: bool = False,
    config: Config | None = None,
) -> Boot:
    wireserver, imds = (http.endpoint(platform.url(name)) for name in ("wireserver", "imds"))
    return Boot(
        Root(str(root)),
        wireserver,
        imds,
        Deadline(8),
        config or CONFIG,
        log,
        force=force,
        rehearsing=rehearsing,
    )


def mark(root: pathlib.Path, vm_id: str) -> None:
    state.remember(Root(str(root)), state.marker(DIRECTORY, vm_id), "a test")


def files(root: pathlib.Path) -> list[str]:
    return sorted(
        str(path.relative_to(root))
        for path in root.rglob("*")
        if not path.is_dir() and "sys/class" not in str(path)
    )


def test_a_second_run_asks_nothing_and_changes_nothing(
    platform: Simulator, root: pathlib.Path, log: Lines
) -> None:
    provision(boot(platform, root, log))
    before, asked = files(root), len(platform.exchanges)
    provision(boot(platform, root, log))
    assert (files(root), len(platform.exchanges)) == (before, asked)
    assert "has been provisioned: nothing to do" in log.lines[-1]


def test_the_first_line_tells_version_and_vm(
    platform: Simulator, root: pathlib.Path, log: Lines
) -> None:
    provision(boot(platform, root, log))
    assert log.lines[0] == f"6 azready {__version__}, VM {VM_ID}"


def test_an_image_without_dmi_may_say_that_this_is_azure(
    platform: Simulator, root: pathlib.Path, log: Lines
) -> None:
    (root / "sys/class/dmi/id/chassis_asset_tag").write_text("no tag\n")
    provision(boot(platform, root, log))
    assert platform.exchanges == []
    assert "platform = " in log.lines[-1]
    (root / "etc").mkdir()
    (root / "etc/azready.toml").write_text('platform = "azure"\n')
    options = {"--root": str(root)}
    config = common.config(Root(str(root)), options)
    assert common.boot(Root(str(root)), options, config, log).force
    assert not common.boot(Root(str(root)), options, Config(), log).force


def test_check_of_a_vm_that_is_done_says_so(
    platform: Simulator, root: pathlib.Path, log: Lines
) -> None:
    mark(root, VM_ID)
    findings = check.check(boot(platform, root, log))
    assert findings.end() == "nothing to do: this VM has been provisioned\n"
    assert json.loads(findings.as_json())["nothing_to_do"] == "this VM has been provisioned"
    assert findings.good


def test_check_tells_what_it_finds_when_it_finds_it(
    platform: Simulator, root: pathlib.Path, log: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []

    def asked(*_: object) -> None:
        assert any(line.startswith("ok    platform") for line in said)
        raise GuestError("enough")

    monkeypatch.setattr("agent.azure.imds.instance", asked)
    check.check(boot(platform, root, log), check.Findings(said.append))
    assert any("enough" in line for line in said)


def test_the_marker_counts_in_the_other_byte_order_and_case(
    platform: Simulator, root: pathlib.Path, log: Lines
) -> None:
    mark(root, identity.swapped(VM_ID))
    provision(boot(platform, root, log))
    assert platform.exchanges == []


def test_a_clone_is_provisioned_anew(platform: Simulator, root: pathlib.Path, log: Lines) -> None:
    mark(root, "11111111-2222-3333-4444-555555555555")
    provision(boot(platform, root, log))
    assert platform.reports == ["Ready"]


def test_a_run_killed_between_marker_and_unit_is_finished_by_the_next(
    platform: Simulator, root: pathlib.Path, log: Lines
) -> None:
    link = root / "etc/systemd/system/multi-user.target.wants/azready.service"
    link.parent.mkdir(parents=True)
    link.symlink_to("../azready.service")
    mark(root, VM_ID)  # killed right after this
    provision(boot(platform, root, log))
    assert not link.is_symlink()
    assert platform.exchanges == []


def enable_cloud_init(root: pathlib.Path) -> None:
    for path in ("usr/lib/systemd/systemd", "usr/lib/systemd/system/cloud-init.service"):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
    wants = root / "etc/systemd/system/cloud-init.target.wants"
    wants.mkdir(parents=True)
    (wants / "cloud-init.service").symlink_to("/usr/lib/systemd/system/cloud-init.service")


def test_it_steps_back_for_another_agent(
    platform: Simulator, root: pathlib.Path, log: Lines
) -> None:
    enable_cloud_init(root)
    before = files(root)
    provision(boot(platform, root, log))
    assert (platform.exchanges, files(root)) == ([], before)
    assert log.lines[-1].startswith("4 warning: cloud-init is enabled (")
    assert "step_back = false in /etc/azready.toml" in log.lines[-1]


def test_a_setting_has_it_go_on_beside_another_agent(
    platform: Simulator, root: pathlib.Path, log: Lines
) -> None:
    enable_cloud_init(root)
    provision(
        boot(
            platform,
            root,
            log,
            config=Config({"media.wait": 0, "step_back": False, "steps.user": os.geteuid() == 0}),
        )
    )
    assert platform.reports == ["Ready"]


def test_without_dmi_the_id_comes_from_the_metadata(
    platform: Simulator, tmp_path: pathlib.Path, log: Lines
) -> None:
    provision(boot(platform, tmp_path, log, force=True))
    assert f"var/lib/azready/{VM_ID}.provisioned" in files(tmp_path)
    provision(boot(platform, tmp_path, log, force=True))
    assert platform.reports == ["Ready"]


def test_the_id_is_the_one_that_azure_shows(
    platform: Simulator, root: pathlib.Path, log: Lines
) -> None:
    """A Gen1 VM; firmware that is older still turns nothing, which only the metadata know."""
    (root / "sys/firmware/efi").rmdir()
    for uuid in (VM_ID, identity.swapped(VM_ID)):
        (root / "sys/class/dmi/id/product_uuid").write_text(uuid)
        (root / "var/lib/hyperv").mkdir(parents=True, exist_ok=True)
        provision(boot(platform, root, log))
        marker = root / f"var/lib/azready/{VM_ID}.provisioned"
        pool = (root / "var/lib/hyperv/.kvp_pool_1").read_bytes()
        assert f"|pps_type=None|vm_id={VM_ID}|".encode() in pool
        marker.unlink()


def test_metadata_of_another_vm_are_said_to_be(
    platform: Simulator, root: pathlib.Path, log: Lines
) -> None:
    other = "11111111-2222-3333-4444-555555555555"
    (root / "sys/class/dmi/id/product_uuid").write_text(other)
    provision(boot(platform, root, log))
    assert (root / f"var/lib/azready/{other}.provisioned").exists()
    assert any(f"are about another VM ({VM_ID}) than {other}" in line for line in log.lines)


def test_without_any_id_ready_is_reported_and_no_marker_written(
    tmp_path: pathlib.Path, log: Lines
) -> None:
    nameless = scenario.parse("nameless", '[vm]\nvm_id = ""')
    with Simulator(nameless) as platform:
        provision(boot(platform, tmp_path, log, force=True))
        assert platform.reports == ["Ready"]
    assert not (tmp_path / "var").exists()
    assert any("without a marker" in line for line in log.lines)


def test_a_dry_run_only_asks(platform: Simulator, root: pathlib.Path, log: Lines) -> None:
    provision(boot(platform, root, log, rehearsing=True))
    assert [exchange.request.method for exchange in platform.exchanges] == ["GET", "GET"]
    assert files(root) == []
    assert any("would write web-1 to /etc/hostname" in line for line in log.lines)
    assert any("would report Ready" in line for line in log.lines)


def test_what_nobody_foresaw_is_reported_as_a_failure(
    platform: Simulator, root: pathlib.Path, log: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: str) -> str:
        raise RuntimeError("a bug")

    monkeypatch.setattr(hosts, "sanitise", broken)
    with pytest.raises(
        ProvisioningFailed,
        match="failed: unhandled exception: RuntimeError: a bug; login may not work; Azure was told; "
        "no boot tries again",
    ) as caught:
        provision(boot(platform, root, log))
    assert caught.value.exit_code == 1
    assert platform.reports == ["ProvisioningFailed"]
    assert platform.exchanges[-1].description.startswith(
        "result=error|reason=unhandled exception: RuntimeError: a bug; CD: no optical device"
    )
    assert files(root) == []


def test_a_failure_that_cannot_be_reported_is_said_too(
    root: pathlib.Path, log: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: str) -> str:
        raise RuntimeError("a bug")

    monkeypatch.setattr(hosts, "sanitise", broken)
    with (
        Simulator(scenario.load("unauthorized")) as platform,
        pytest.raises(
            ProvisioningFailed,
            match="a bug; login may not work; Azure was not told: the wireserver answered",
        ),
    ):
        provision(boot(platform, root, log))


@pytest.mark.parametrize("broken_too", [False, True])
def test_what_check_finds_follows_a_failure(
    root: pathlib.Path, log: Lines, monkeypatch: pytest.MonkeyPatch, broken_too: bool
) -> None:
    def broken(*_: object) -> str:
        raise RuntimeError("a bug")

    def no_network() -> tuple[list[object], list[object], list[object]]:
        return [], [], []

    own_user = Config({"media.wait": 0, "steps.user": False})
    monkeypatch.setattr(Profile, "user_data", broken)
    monkeypatch.setattr(network, "survey", broken if broken_too else no_network)
    pool = root / "var/lib/hyperv/.kvp_pool_1"
    pool.parent.mkdir(parents=True)
    forbidden = scenario.parse("forbidden", '[[imds]]\nstatus = 403\ntimes = "forever"')
    with (
        Simulator(forbidden) as platform,
        pytest.raises(ProvisioningFailed, match="failed: unhandled exception: RuntimeError: a bug"),
    ):
        provision(boot(platform, root, log, config=own_user))
    findings = (
        ["unhandled exception: RuntimeError: a bug"]
        if broken_too
        else [
            "IMDS: there is no instance metadata",
            "CD: no optical device (is its driver, sr_mod, in the image?); it is taken away once "
            "Ready was reported",
            "route: there is no default route: is a DHCP client running?",
        ]
    )
    if os.geteuid() == 0:
        assert log.lines[-len(findings) - 3 :][: len(findings)] == [
            f"4 warning: check: {finding}" for finding in findings
        ]
    ((key, value),) = kvp.parse(pool.read_bytes())
    assert key == kvp.REPORT_KEY
    assert value == platform.exchanges[-1].description
    told = "; ".join(("unhandled exception: RuntimeError: a bug", *findings))
    assert value.startswith(f"result=error|reason={told}"[:250])
    assert value.endswith("|documentation_url=https://aka.ms/linuxprovisioningerror")
    assert len(value) <= 512


def test_files_that_cannot_be_written_are_warnings_where_nothing_is_fatal(
    platform: Simulator, root: pathlib.Path, log: Lines
) -> None:
    (root / "etc").write_text("not a folder")
    (root / "var").write_text("not a folder")
    provision(boot(platform, root, log, config=Config({"media.wait": 0, "fatal": []})))
    assert platform.reports == ["Ready"]
    warnings = [line for line in log.lines if "warning: cannot" in line]
    for what in ("etc/passwd", "etc/ssh", "var/lib"):
        assert any(what in line for line in warnings), what


@pytest.mark.skipif(os.geteuid() != 0, reason="making a user takes root")
def test_a_user_that_cannot_be_made_fails_the_run(
    platform: Simulator, root: pathlib.Path, log: Lines
) -> None:
    (root / "etc").write_text("not a folder")
    with pytest.raises(
        ProvisioningFailed,
        match=r"provisioning failed: cannot read .*not a directory",
    ):
        provision(boot(platform, root, log))
    assert platform.reports == ["ProvisioningFailed"]


def seen_at_the_report(root: pathlib.Path, vm: scenario.VM, log: Lines) -> list[str]:
    """The files that are there at the moment when the health report arrives."""
    seen: list[str] = []

    def look(exchange: Exchange) -> None:
        if exchange.request.method == "POST":
            seen.extend(files(root))

    pool = root / "var/lib/hyperv/.kvp_pool_1"
    pool.parent.mkdir(parents=True)
    (root / "dev").mkdir()
    (root / "dev/sr0").write_bytes(media.image(vm))
    with Simulator(
        dataclasses.replace(scenario.load("healthy"), vm=vm), on_exchange=look
    ) as platform:
        try:
            provision(boot(platform, root, log))
        except ProvisioningFailed:
            assert platform.reports == ["ProvisioningFailed"]
        else:
            assert platform.reports == ["Ready"]
    return seen


@pytest.mark.skipif(os.geteuid() != 0, reason="making a user takes root")
def test_everything_but_the_marker_is_in_place_when_ready_arrives(
    root: pathlib.Path, log: Lines
) -> None:
    seen = seen_at_the_report(
        root,
        scenario.VM(
            media="cd", custom_data="c", user_data="u", password="p", disable_password="false"
        ),
        log,
    )
    for path in (
        "etc/hostname",
        "etc/shadow",
        "home/azureuser/.ssh/authorized_keys",
        "var/lib/azready/customdata",
        "var/lib/azready/userdata",
    ):
        assert path in seen
    assert not [path for path in seen if path.endswith(".provisioned")]
    assert [path for path in files(root) if path.endswith(".provisioned")]
    assert (root / "var/lib/hyperv/.kvp_pool_1").stat().st_size == 2560


@pytest.mark.skipif(os.geteuid() != 0, reason="making a user takes root")
def test_the_host_hears_of_a_failure_before_the_wireserver(root: pathlib.Path, log: Lines) -> None:
    assert "var/lib/hyperv/.kvp_pool_1" in seen_at_the_report(
        root, scenario.VM(media="cd", admin_username="root"), log
    )


@pytest.mark.parametrize("own_user", [False, True])
def test_check_knows_that_a_boot_without_any_word_fails(
    root: pathlib.Path, log: Lines, own_user: bool
) -> None:
    config = Config({"media.wait": 0, "steps.user": not own_user})
    with Simulator(scenario.load("imds-refused")) as platform:
        findings = check.check(boot(platform, root, log, config=config))
    known = [
        text for verdict, subject, text in findings.lines if (verdict, subject) == ("bad", "plan")
    ]
    if own_user:
        assert known == []
    else:
        assert known[0].startswith(
            "nothing is known about this VM: no instance metadata (http error 403 querying IMDS)"
        )


def test_check_prints_no_control_character_of_the_platform(root: pathlib.Path, log: Lines) -> None:
    hostile = scenario.parse("hostile", '[vm]\nvm_id = "id\\u001b[2J\\n"\n')
    with Simulator(hostile) as platform:
        said: list[str] = []
        check.check(boot(platform, root, log), check.Findings(said.append))
    text = "".join(said)
    assert "id\\x1b[2J" in text
    assert all(line.isprintable() for line in text.splitlines())
    check.Findings(said.append).add(check.HINT, "VM id", "a\ud800b")
    assert said[-1] == "hint  VM id          a\\xd800b\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="making a user takes root")
def test_what_the_cd_says_is_done_before_anybody_is_asked(root: pathlib.Path, log: Lines) -> None:
    """The host name, which a lease must carry; and the metadata win where the two differ."""
    seen: list[tuple[str, bool]] = []

    def look(exchange: Exchange) -> None:
        if exchange.service == "imds":
            name = chosen.vm.admin_username
            can_log_in = f"{name}:$6$" in (root / "etc/shadow").read_text()
            seen.append(((root / "etc/hostname").read_text(), can_log_in))

    chosen = scenario.parse("two", '[vm]\nmedia = "cd"\npassword = "x"\ncomputer_name = "web-1"\n')
    (root / "dev").mkdir()
    (root / "dev/sr0").write_bytes(
        media.image(dataclasses.replace(chosen.vm, computer_name="from-the-cd"))
    )
    steps: list[str] = []
    log.watch = steps.append
    with Simulator(chosen, on_exchange=look) as platform:
        provision(boot(platform, root, log))
        assert platform.reports == ["Ready"]
    assert log.lines[1:3] == [
        "6 provisioning CD: /dev/sr0",
        "6 write from-the-cd to /etc/hostname",
    ]
    assert log.lines.count("6 provisioning CD: /dev/sr0") == 1
    # What was done early is repeated because the metadata name another host, and changes no more.
    early = {
        step.name: sum(text.startswith(f"step {step.name}:") for text in steps) for step in EARLY
    }
    assert early == dict.fromkeys(early, 2)
    assert sum("create the user" in line for line in log.lines) == 1
    assert seen == [("from-the-cd\n", True)]
    assert (root / "etc/hostname").read_text() == "web-1\n"


def test_check_knows_a_copy_of_a_disk_that_was_not_generalized(
    platform: Simulator, root: pathlib.Path, log: Lines
) -> None:
    mark(root, "11111111-2222-3333-4444-555555555555")
    findings = check.check(boot(platform, root, log))
    assert not findings.good
    assert ("bad", "unit") in {(verdict, subject) for verdict, subject, _ in findings.lines}
    link = root / "etc/systemd/system/multi-user.target.wants/azready.service"
    link.parent.mkdir(parents=True)
    link.symlink_to("../azready.service")
    assert check.check(boot(platform, root, log)).good  # the next boot provisions it anew
    link.unlink()
    mark(root, VM_ID)
    assert check.check(boot(platform, root, log)).good


@pytest.mark.parametrize(
    "place",
    [
        "agent.commands.check.after_failure",
        "agent.steps.kvp.write",
        "agent.azure.wireserver.Wireserver.report_not_ready",
        "agent.init.enabled",
    ],
)
def test_an_error_while_a_failure_is_told_does_not_hide_it(
    platform: Simulator, root: pathlib.Path, log: Lines, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    def breaks(*_: object) -> None:
        raise ValueError("a bug")

    (root / "var/lib/hyperv").mkdir(parents=True)
    monkeypatch.setattr(place, breaks)
    reason = "é" * 5000
    with pytest.raises(ProvisioningFailed) as caught:
        failure.fail(boot(platform, root, log), GuestError(reason))
    unsent = place.endswith("report_not_ready")
    assert platform.reports == ([] if unsent else ["ProvisioningFailed"])
    told = "Azure was not told: a bug" if unsent else "Azure was told"
    assert str(caught.value).startswith("provisioning failed: ééé")
    assert f"; login may not work; {told}; " in str(caught.value)
    assert len(str(caught.value)) < LONGEST


# Signals


@pytest.fixture
def signals_armed() -> Iterator[None]:
    old = {number: signal.getsignal(number) for number in signals.NUMBERS}
    signals.arm()
    yield
    signals.arm()  # forgets the one that came
    for number, handler in old.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("signals_armed")
def test_a_signal_at_the_end_of_the_wait_reports_nothing(
    platform: Simulator, root: pathlib.Path, log: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run that was waited for may have reported Ready."""
    wait = Lock.wait

    def to_the_end(lock: Lock, deadline: Deadline, log: Lines) -> None:
        holder.__exit__()
        wait(lock, deadline, log)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Lock, "wait", to_the_end)
    (root / "run").mkdir()
    holder = Lock(Root(str(root)))
    assert holder.take(log)
    mark(root, VM_ID)
    with pytest.raises(Busy, match="ended by SIGTERM while another azready"):
        provision(boot(platform, root, log))
    assert platform.exchanges == []


@pytest.mark.usefixtures("signals_armed")
def test_a_clean_up_that_fails_hides_no_signal(
    platform: Simulator, root: pathlib.Path, log: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As that of a mounted medium may."""

    def changes(_: Boot) -> Iterator[Change]:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            yield Change("go on", bool)
        finally:
            raise GuestError("cannot remove the folder")

    steps = (Step("media", "", changes), KVP)
    monkeypatch.setattr("agent.commands.carrying.run_steps.__defaults__", (steps,))
    with pytest.raises(ProvisioningFailed, match="terminated by SIGTERM before Ready"):
        provision(boot(platform, root, log))
    assert platform.reports == ["ProvisioningFailed"]


def test_a_vm_from_a_pool_is_warned_of_once(
    platform: Simulator, root: pathlib.Path, log: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Profile, "preprovisioned", property(lambda _: True), raising=False)
    provision(boot(platform, root, log))
    assert sum("from a pool of preprovisioned VMs" in line for line in log.lines) == 1
