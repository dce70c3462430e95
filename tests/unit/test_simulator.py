"""The simulator by itself: it notices what Azure would refuse, and misreads no scenario."""

import http.client
import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator
from xml.etree import ElementTree

import pytest

from agent.machine import media
from agent.protocol import ovf
from agent.root import Root
from scripts.simulator import scenario
from scripts.simulator.platform import instance
from scripts.simulator.server import Simulator
from tests.conftest import TOP

VERSION = {"x-ms-version": "2012-11-30"}
REPORT = {**VERSION, "x-ms-agent-name": "test", "Content-Type": "text/xml;charset=utf-8"}


@pytest.fixture
def platform() -> Iterator[Simulator]:
    with Simulator(scenario.load("healthy")) as simulator:
        yield simulator


def ask(
    platform: Simulator,
    service: str,
    method: str,
    target: str,
    headers: dict[str, str],
    body: str | None = None,
) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(
        platform.url(service).removeprefix("http://"), timeout=5
    )
    connection.request(method, target, body, headers)
    response = connection.getresponse()
    try:
        return response.status, response.read()
    finally:
        connection.close()


def health(state: str = "<State>Ready</State>", **changed: str) -> str:
    vm = scenario.VM()
    values = {
        "incarnation": vm.incarnation,
        "container": vm.container_id,
        "instance": vm.instance_id,
        **changed,
    }
    return (
        f"<Health><GoalStateIncarnation>{values['incarnation']}</GoalStateIncarnation><Container><ContainerId>{values['container']}</ContainerId>"
        f"<RoleInstanceList><Role><InstanceId>{values['instance']}</InstanceId><Health>{state}</Health></Role></RoleInstanceList></Container></Health>"
    )


@pytest.mark.parametrize(
    ("service", "method", "target", "headers", "body", "status", "problem"),
    [
        ("wireserver", "GET", "/machine?comp=goalstate", {}, None, 400, "x-ms-version is missing"),
        (
            "wireserver",
            "GET",
            "/machine?comp=goalstate",
            {"x-ms-version": "1999"},
            None,
            400,
            "x-ms-version is '1999'",
        ),
        (
            "wireserver",
            "POST",
            "/machine?comp=goalstate",
            VERSION,
            None,
            405,
            "the method is POST, not GET",
        ),
        ("wireserver", "GET", "/machine?comp=other", VERSION, None, 404, "no such resource"),
        (
            "wireserver",
            "GET",
            "http://168.63.129.16/machine?comp=goalstate",
            VERSION,
            None,
            200,
            "written for a proxy",
        ),
        (
            "wireserver",
            "GET",
            "/machine?comp=goalstate",
            {**VERSION, "Via": "1.1 x"},
            None,
            200,
            "a proxy is in the way",
        ),
        (
            "wireserver",
            "POST",
            "/machine?comp=health",
            {**REPORT, "Content-Type": "text/plain"},
            health(),
            400,
            "the Content-Type is",
        ),
        (
            "wireserver",
            "POST",
            "/machine?comp=health",
            {**VERSION, "Content-Type": "text/xml;charset=utf-8"},
            health(),
            400,
            "x-ms-agent-name is missing",
        ),
        (
            "wireserver",
            "POST",
            "/machine?comp=health",
            REPORT,
            "<Health>",
            400,
            "the health report is not valid",
        ),
        (
            "wireserver",
            "POST",
            "/machine?comp=health",
            REPORT,
            "<!DOCTYPE a>" + health(),
            400,
            "contains a DTD",
        ),
        (
            "wireserver",
            "POST",
            "/machine?comp=health",
            REPORT,
            "<Healthy/>",
            400,
            "the root element is Healthy",
        ),
        (
            "wireserver",
            "POST",
            "/machine?comp=health",
            REPORT,
            health(container="other"),
            400,
            "Container/ContainerId is 'other'",
        ),
        (
            "wireserver",
            "POST",
            "/machine?comp=health",
            REPORT,
            health(incarnation="2"),
            400,
            "GoalStateIncarnation is '2'",
        ),
        (
            "wireserver",
            "POST",
            "/machine?comp=health",
            REPORT,
            health("<State>Fine</State>"),
            400,
            "State is 'Fine'",
        ),
        (
            "wireserver",
            "POST",
            "/machine?comp=health",
            REPORT,
            health("<State>NotReady</State>"),
            400,
            "SubStatus is ''",
        ),
        (
            "wireserver",
            "POST",
            "/machine?comp=health",
            REPORT,
            health().replace("Role>", "RoleInstance>"),
            400,
            "contains RoleInstance, which is unknown",
        ),
        (
            "imds",
            "GET",
            "/metadata/instance?api-version=2021-08-01",
            {},
            None,
            400,
            "Metadata: true is missing",
        ),
        ("imds", "GET", "/metadata/instance", {"Metadata": "true"}, None, 400, "api-version is ''"),
        (
            "imds",
            "POST",
            "/metadata/instance?api-version=2021-08-01",
            {"Metadata": "true"},
            None,
            405,
            "the method is POST",
        ),
        (
            "imds",
            "GET",
            "/metadata/instance/compute/name?api-version=2021-08-01",
            {"Metadata": "true"},
            None,
            400,
            "without format=text",
        ),
    ],
)
def test_what_azure_would_refuse_is_refused_and_said(
    platform: Simulator,
    service: str,
    method: str,
    target: str,
    headers: dict[str, str],
    body: str | None,
    status: int,
    problem: str,
) -> None:
    assert ask(platform, service, method, target, headers, body)[0] == status
    assert any(problem in text for text in platform.problems), platform.problems
    assert platform.reports == []


def test_what_the_goal_state_refers_to_is_there(platform: Simulator) -> None:
    _, state = ask(platform, "wireserver", "GET", "/machine/?comp=goalstate", VERSION)
    for name in ("HostingEnvironmentConfig", "SharedConfig"):
        url = ElementTree.fromstring(state).findtext(f".//{name}") or ""
        target = url.removeprefix("http://168.63.129.16:80")
        status, body = ask(platform, "wireserver", "GET", target, VERSION)
        assert (status, ElementTree.fromstring(body).tag) == (200, name)
    assert (
        ask(platform, "wireserver", "GET", "/machine/1?comp=config&type=other", VERSION)[0] == 404
    )


def test_the_linux_agent_may_tell_how_it_is(platform: Simulator) -> None:
    for target in ("/HealthService", "/machine?comp=telemetrydata"):
        assert ask(platform, "wireserver", "POST", target, {}, "{}")[0] == 200
        assert ask(platform, "wireserver", "GET", target, {})[0] == 404
    target = "/metadata/instance/compute?api-version=2018-02-01"
    assert ask(platform, "imds", "GET", target, {"Metadata": "true"})[0] == 200


def test_what_azure_accepts_is_accepted(platform: Simulator) -> None:
    details = "<Details><SubStatus>ProvisioningFailed</SubStatus><Description>no disk</Description></Details>"
    assert ask(platform, "wireserver", "GET", "/machine/?comp=goalstate", VERSION)[0] == 200
    assert ask(platform, "wireserver", "GET", "/?comp=versions", {})[0] == 200
    assert (
        ask(
            platform,
            "wireserver",
            "POST",
            "/machine?comp=health",
            REPORT,
            health(f"<State>NotReady</State>{details}"),
        )[0]
        == 200
    )
    assert ask(platform, "wireserver", "POST", "/machine?comp=health", REPORT, health())[0] == 200
    leaf = "/metadata/instance/compute/name?api-version=2019-06-01&format=text"
    assert ask(platform, "imds", "GET", leaf, {"metadata": "True"}) == (200, b"web-1")
    assert platform.problems == []
    assert platform.reports == ["ProvisioningFailed", "Ready"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("colour = 1", "unknown key 'colour'"),
        ("[goalstate]\nstatus = 500", r"goalstate must be a list of tables: \[\[goalstate\]\]"),
        ("[[goalstate]]\nstate = 500", "number 1: unknown key 'state'"),
        (
            "[[health]]\nstatus = 200\n[[health]]\nstatus = '500'",
            "number 2: status is '500', which has the wrong type",
        ),
        ("[[imds]]\ndelay = true", "delay is True"),
        ("[[imds]]\nconnection = 'gone'", "known are reset, close, hang"),
        ("[vm]\nmoves_after = 'x'", "moves_after is 'x'"),
    ],
)
def test_a_wrong_scenario_is_named_by_place_and_key(text: str, says: str) -> None:
    with pytest.raises(scenario.ScenarioError, match=says):
        scenario.parse("mine", text)


def test_answers_are_taken_one_by_one_and_then_all_is_well() -> None:
    chosen = scenario.parse(
        "mine", "[[goalstate]]\nstatus = 503\ntimes = 2\n[[goalstate]]\nstatus = 404"
    )
    with Simulator(chosen) as platform:
        assert [
            ask(platform, "wireserver", "GET", "/machine?comp=goalstate", VERSION)[0]
            for _ in range(5)
        ] == [503, 503, 404, 200, 200]


def simulate(*arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = {"PATH": os.environ["PATH"]}
    return subprocess.run(
        [sys.executable, "-m", "scripts.simulator", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=TOP,
        env=environment,
    )


def test_until_ends_with_0_when_the_report_came_and_with_3_when_not() -> None:
    result = simulate("--until", "Ready", "--timeout", "0.3")
    assert (result.returncode, "no Ready report within 0.3 s" in result.stderr) == (3, True)


def test_json_has_an_object_per_line_and_the_commands_code_is_handed_on() -> None:
    agent = [
        sys.executable,
        "-m",
        "agent",
        "report",
        "provisioning",
        "--wireserver",
        "{wireserver}",
    ]
    result = simulate("--json", "--", *agent)
    events = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.returncode == 0
    assert [event.get("report") for event in events] == [None, None, "Provisioning"]
    assert simulate("--", "/bin/sh", "-c", "exit 7").returncode == 7


def test_strict_ends_with_4_when_a_request_was_wrong() -> None:
    program = "import sys, urllib.request, urllib.error\ntry: urllib.request.urlopen(sys.argv[1] + '/machine?comp=goalstate')\nexcept urllib.error.HTTPError: pass"
    assert simulate("--strict", "--", sys.executable, "-c", program, "{wireserver}").returncode == 4


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--scenario", "none"], "unknown scenario 'none'"),
        (["--", "/does/not/exist"], "cannot run /does/not/exist: no such file or directory"),
        (["--wireserver-port", "99999"], "port must be 0-65535"),
    ],
)
def test_mistakes_are_one_line(arguments: list[str], says: str) -> None:
    result = simulate(*arguments)
    assert result.returncode == 2
    assert says in result.stderr
    assert result.stderr.count("\n") == 1


def test_the_provisioning_cd_is_written_for_a_drive(tmp_path: pathlib.Path) -> None:
    image = tmp_path / "cd.iso"
    assert (
        simulate("--media", str(image), "--scenario", "cd-password", "--timeout", "0.1").returncode
        == 0
    )
    environment = ovf.parse(media.read_files(Root(str(tmp_path)), "/cd.iso")["ovf-env.xml"])
    assert (environment.user_name, environment.password) == ("azureuser", "correct horse battery")


def test_the_metadata_holds_the_keys_and_never_the_password(platform: Simulator) -> None:
    vm = scenario.VM(password="correct horse", user_data="u", custom_data="c", media="cd")
    text = json.dumps(instance(vm, extended=True))
    assert scenario.KEY in text
    assert "correct horse" not in text
    assert '"hasCustomData": true' in text
    assert platform.problems == []


def test_the_hosts_plugin_answers_as_one_of_an_older_host() -> None:
    place = ("127.0.0.1", 0)
    with Simulator(scenario.load("healthy"), host_plugin=place) as platform:
        assert ask(platform, "host_plugin", "GET", "/vmSettings", {})[0] == 404
        assert platform.problems == []
