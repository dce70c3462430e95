"""Answers as a healthy Azure does, and checks what it is asked.

A request that Azure would refuse is refused with the same status code; the transcript gets the
reasons. The facts are in agent/README.md.
"""

import base64
import dataclasses
import json
import urllib.parse
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from scripts.simulator.scenario import VM

WIRESERVER = "168.63.129.16"
IMDS = "169.254.169.254"
ADDRESSES = {"wireserver": (WIRESERVER, 80), "imds": (IMDS, 80), "host_plugin": (WIRESERVER, 32526)}

_GOAL_STATE_VERSIONS = ("2012-11-30", "2015-04-05")
_IMDS_VERSIONS = (
    "2018-02-01",  # the Azure Linux agent's
    "2019-06-01",
    "2020-07-15",
    "2021-01-01",
    "2021-02-01",
    "2021-08-01",
    "2021-12-13",
)
_MAX_DESCRIPTION = 4096  # bytes
# (path, query) -> what the Azure Linux agent tells while it handles extensions (2.7: wire.py,
# healthservice.py). Nothing comes of it.
_TOLD = {
    ("/HealthService", ""): "the agent's health",
    ("/machine", "comp=telemetrydata"): "telemetry",
    ("/machine/", "comp=telemetrydata"): "telemetry",
}


@dataclasses.dataclass(frozen=True)
class Request:
    """A request.

    `headers` have lower-case names, and repeated ones are joined by a comma; `peer` is an IP
    address.
    """

    method: str
    target: str
    version: str
    headers: dict[str, str]
    body: bytes
    peer: str = ""


@dataclasses.dataclass
class Reply:
    """The platform's answer.

    `note` describes it for people, `problems` lists what is wrong with the request, and `report` is
    the health state that the request carries.
    """

    status: int
    body: bytes = b""
    content_type: str = "text/xml; charset=utf-8"
    note: str = ""
    problems: list[str] = dataclasses.field(default_factory=list)
    report: str = ""
    description: str = ""


def endpoint(service: str, request: Request) -> str:
    """Return the scripted endpoint that a request is for."""
    if service in ("imds", "host_plugin"):
        return service
    query = urllib.parse.urlsplit(request.target).query
    if query.startswith("comp=config&"):
        return "config"
    return {"comp=health": "health", "comp=versions": "versions"}.get(query, "goalstate")


def answer(service: str, request: Request, vm: VM) -> Reply:
    """Return the healthy platform's answer."""
    problems = _common_problems(service, request)
    if service == "host_plugin":  # the Azure Linux agent takes this for an older host
        return Reply(404, problems=problems, note="not found")
    reply = (_imds if service == "imds" else _wireserver)(request, vm)
    reply.problems[:0] = problems
    return reply


def _common_problems(service: str, request: Request) -> list[str]:
    problems = []
    if request.version not in ("HTTP/1.1", "HTTP/1.0"):
        problems.append(f"the HTTP version is {request.version!r}")
    if "://" in request.target:
        problems.append(f"the request is written for a proxy: {request.target}")
    if request.version == "HTTP/1.1" and not request.headers.get("host"):
        problems.append("the Host header is missing")
    proxies = ("x-forwarded-for", "proxy-connection", "via", "forwarded")
    problems += [
        f"the header {name} shows that a proxy is in the way"
        for name in proxies
        if name in request.headers
    ]
    if request.method == "GET" and request.body:
        problems.append("a GET has a body")
    return problems


def _wireserver(request: Request, vm: VM) -> Reply:
    url = urllib.parse.urlsplit(request.target)
    if request.method == "GET" and url.path == "/" and url.query == "comp=versions":
        supported = "".join(f"<Version>{version}</Version>" for version in _GOAL_STATE_VERSIONS)
        return Reply(
            200,
            '<?xml version="1.0" encoding="utf-8"?>'
            f"<Versions><Supported>{supported}</Supported></Versions>".encode(),
            note="versions",
        )
    kind = dict(urllib.parse.parse_qsl(url.query)).get("type", "")
    if request.method == "GET" and endpoint("wireserver", request) == "config" and kind in _CONFIGS:
        return Reply(200, _config(kind, vm), note=kind)
    if request.method == "POST" and (url.path, url.query) in _TOLD:
        return Reply(200, note=_TOLD[url.path, url.query])
    if url.path not in ("/machine", "/machine/") or url.query not in (
        "comp=goalstate",
        "comp=health",
    ):
        return Reply(404, problems=[f"no such resource: {request.target}"], note="not found")
    if request.headers.get("x-ms-version") not in _GOAL_STATE_VERSIONS:
        found = request.headers.get("x-ms-version")
        return Reply(
            400,
            problems=[
                f"the header x-ms-version is {found!r}"
                if found
                else "the header x-ms-version is missing"
            ],
            note="bad request",
        )
    wanted = "GET" if url.query == "comp=goalstate" else "POST"
    if request.method != wanted:
        return Reply(
            405,
            problems=[f"the method is {request.method}, not {wanted}"],
            note="method not allowed",
        )
    if wanted == "GET":
        return Reply(
            200, document("goal-state", vm), note=f"goal state, incarnation {vm.incarnation}"
        )
    return _health(request, vm)


def _health(request: Request, vm: VM) -> Reply:
    problems = []
    content_type = request.headers.get("content-type", "").replace(" ", "").lower()
    if content_type != "text/xml;charset=utf-8":
        problems.append(f"the Content-Type is {content_type!r}, not text/xml;charset=utf-8")
    if not request.headers.get("x-ms-agent-name"):
        problems.append("the header x-ms-agent-name is missing")
    reply = Reply(200, note="")
    try:
        if b"<!DOCTYPE" in request.body:
            raise ValueError("the document contains a DTD")
        root = ElementTree.fromstring(request.body)
        state, substatus, description = _health_values(root, vm, problems)
        reply.report = substatus if state == "NotReady" else state
        reply.description = description
        reply.note = " ".join(filter(None, [state, substatus])) + (
            f": {description}" if description else ""
        )
    except (ElementTree.ParseError, ValueError) as error:
        problems.append(f"the health report is not valid: {error}")
    if problems:
        return Reply(400, problems=problems, note="health report refused")
    return reply


def _health_values(root: ElementTree.Element, vm: VM, problems: list[str]) -> tuple[str, str, str]:
    """Return State, SubStatus and Description of a report.

    Adds a wrong shape and wrong ids to `problems`.
    """
    shape = {
        "": "Health",
        "Health": "GoalStateIncarnation Container",
        "Health/Container": "ContainerId RoleInstanceList",
        "Health/Container/RoleInstanceList": "Role",
        "Health/Container/RoleInstanceList/Role": "InstanceId Health",
        "Health/Container/RoleInstanceList/Role/Health": "State Details",
        "Health/Container/RoleInstanceList/Role/Health/Details": "SubStatus Description",
    }

    def walk(element: ElementTree.Element, path: str) -> None:
        if path in shape:
            known = shape[path].split()
            for child in element:
                if child.tag not in known or len(element.findall(child.tag)) > 1:
                    problems.append(
                        f"{path} contains {child.tag}, which is unknown there or repeated"
                    )
                walk(child, f"{path}/{child.tag}")
        elif len(element):
            problems.append(f"{path} contains elements instead of text")

    if root.tag != "Health":
        raise ValueError(f"the root element is {root.tag}, not Health")
    walk(root, "Health")
    role = "Container/RoleInstanceList/Role/"
    for path, expected in (
        ("GoalStateIncarnation", vm.incarnation),
        ("Container/ContainerId", vm.container_id),
        (role + "InstanceId", vm.instance_id),
    ):
        found = root.findtext(path)
        if found is None or found.strip() != expected:
            problems.append(f"{path} is {found!r}, the goal state says {expected!r}")
    state = (root.findtext(role + "Health/State") or "").strip()
    substatus = root.findtext(role + "Health/Details/SubStatus") or ""
    description = root.findtext(role + "Health/Details/Description") or ""
    if state not in ("Ready", "NotReady"):
        problems.append(f"State is {state!r}, not Ready or NotReady")
    if state == "NotReady" and substatus not in ("Provisioning", "ProvisioningFailed"):
        problems.append(f"SubStatus is {substatus!r}, not Provisioning or ProvisioningFailed")
    if len(description.encode()) > _MAX_DESCRIPTION:
        problems.append(
            f"Description is {len(description.encode())} bytes, more than {_MAX_DESCRIPTION}"
        )
    return state, substatus, description


def _imds(request: Request, vm: VM) -> Reply:
    json_type = "application/json; charset=utf-8"
    if request.method != "GET":
        return Reply(
            405,
            content_type=json_type,
            problems=[f"the method is {request.method}, not GET"],
            note="method not allowed",
        )
    if request.headers.get("metadata", "").lower() != "true":
        return Reply(
            400,
            b'{"error":"Bad request. Required metadata header not specified"}',
            json_type,
            "bad request",
            ["the header Metadata: true is missing"],
        )
    if "x-forwarded-for" in request.headers:
        return Reply(400, b'{"error":"Bad request"}', json_type, "bad request")
    url = urllib.parse.urlsplit(request.target)
    query = dict(urllib.parse.parse_qsl(url.query))
    version = query.get("api-version", "")
    if version not in _IMDS_VERSIONS:
        body = json.dumps(
            {
                "error": "Bad request. api-version is invalid or was not specified",
                "newest-versions": list(reversed(_IMDS_VERSIONS))[:3],
            }
        )
        return Reply(400, body.encode(), json_type, "bad request", [f"api-version is {version!r}"])
    parts = [part for part in url.path.split("/") if part]
    if parts[:2] != ["metadata", "instance"]:
        return Reply(
            404, b'{"error":"Not found"}', json_type, "not found", [f"no such resource: {url.path}"]
        )
    value: Any = instance(vm, extended=query.get("extended") == "true")
    for part in parts[2:]:
        value = value.get(part) if isinstance(value, dict) else None
    if value is None:
        return Reply(
            404, b'{"error":"Not found"}', json_type, "not found", [f"no such key: {url.path}"]
        )
    if isinstance(value, (dict, list)):
        return Reply(200, json.dumps(value).encode(), json_type, f"instance metadata of {vm.name}")
    if query.get("format") != "text":
        return Reply(
            400,
            b'{"error":"Bad request. A leaf needs format=text"}',
            json_type,
            "bad request",
            ["a leaf was requested without format=text"],
        )
    return Reply(200, str(value).encode(), "text/plain; charset=utf-8", f"{url.path} = {value}")


def instance(vm: VM, *, extended: bool) -> dict[str, Any]:
    """Return the instance metadata document."""
    metadata: dict[str, Any] = {
        "compute": {
            "azEnvironment": "AzurePublicCloud",
            "location": "westeurope",
            "name": vm.name,
            "osProfile": {
                "adminUsername": vm.admin_username,
                "computerName": vm.computer_name,
                "disablePasswordAuthentication": vm.disable_password,
            },
            "osType": "Linux",
            "publicKeys": [{"keyData": key, "path": key_path(vm)} for key in vm.public_keys],
            "userData": base64.b64encode(vm.user_data.encode()).decode(),
            "vmId": vm.vm_id,
        },
        "network": {
            "interface": [
                {
                    "ipv4": {
                        "ipAddress": [{"privateIpAddress": "10.0.0.4", "publicIpAddress": ""}]
                    },
                    "macAddress": vm.mac,
                }
            ]
        },
    }
    if extended:
        metadata["extended"] = {
            "compute": {"hasCustomData": bool(vm.custom_data), "ppsType": "None"}
        }
    return metadata


def key_path(vm: VM) -> str:
    """Return where the platform wants SSH keys to be."""
    return vm.key_path or f"/home/{vm.admin_username}/.ssh/authorized_keys"


def document(name: str, vm: VM) -> bytes:
    """Return a named document: `document = "..."` in a scenario.

    Raises KeyError for an unknown name.
    """
    role = _ROLE_INSTANCE.format(instance_id=escape(vm.instance_id), config=_CONFIG, first=_FIRST)
    second = role.replace(escape(vm.instance_id), "second-instance")
    normal = _goal_state(vm, role)
    documents: dict[str, Callable[[], bytes]] = {
        "goal-state": normal.encode,
        "bom": lambda: b"\xef\xbb\xbf" + normal.encode(),
        "padded": (
            "\r\n \r\n"
            + normal.replace(escape(vm.instance_id), f"\r\n    {escape(vm.instance_id)}\r\n  ")
            + "\r\n\r\n"
        ).encode,
        "no-role-instance": _goal_state(vm, "").encode,
        "two-role-instances": _goal_state(vm, role + second).encode,
        "unknown-elements": lambda: normal.replace(
            "<Machine>", "<New><Deep><InstanceId>no</InstanceId></Deep></New><Machine>"
        ).encode(),
        "empty-container-id": lambda: normal.replace(escape(vm.container_id), "").encode(),
        "missing-container-id": lambda: normal.replace(
            f"<ContainerId>{escape(vm.container_id)}</ContainerId>", ""
        ).encode(),
        "dtd": lambda: normal.replace(
            "<GoalState ", '<!DOCTYPE GoalState [<!ENTITY a "b">]>\r\n<GoalState '
        ).encode(),
        "html": lambda: (
            b"<!DOCTYPE html><html><head><title>Sign in</title></head>"
            b"<body>Please sign in to this network</body></html>"
        ),
    }
    return documents[name]()


_ROLE_INSTANCE = """
      <RoleInstance>
        <InstanceId>{instance_id}</InstanceId>
        <State>Started</State>
        <Configuration>
          <HostingEnvironmentConfig>{config}hostingEnvironmentConfig{first}</HostingEnvironmentConfig>
          <SharedConfig>{config}sharedConfig{first}</SharedConfig>
          <ConfigName>1.0.1.0.xml</ConfigName>
        </Configuration>
      </RoleInstance>""".replace("\n", "\r\n")
_CONFIG = "http://168.63.129.16:80/machine/1?comp=config&amp;type="
_FIRST = "&amp;incarnation=1"
# What a goal state refers to. The Azure Linux agent (2.7: goal_state.py) reports nothing without,
# and reads the names of deployment, role and instance from the first.
_CONFIGS = {
    "hostingEnvironmentConfig": """<?xml version="1.0" encoding="utf-8"?>
<HostingEnvironmentConfig version="1.0.0.0" goalStateIncarnation="{incarnation}">
  <Deployment name="{container}" guid="{{{container}}}" incarnation="0" />
  <Incarnation number="1" instance="{name}" guid="{{{container}}}" />
  <Role guid="{{{container}}}" name="{name}" settleTimeSeconds="0" />
</HostingEnvironmentConfig>
""",
    "sharedConfig": """<?xml version="1.0" encoding="utf-8"?>
<SharedConfig version="1.0.0.0" goalStateIncarnation="{incarnation}">
  <Deployment name="{container}" guid="{{{container}}}" incarnation="0" />
  <Incarnation number="1" instance="{name}" guid="{{{container}}}" />
  <Role guid="{{{container}}}" name="{name}" />
</SharedConfig>
""",
}


def _config(kind: str, vm: VM) -> bytes:
    values = {"incarnation": vm.incarnation, "container": vm.container_id, "name": vm.name}
    text = _CONFIGS[kind].format(**{name: escape(value) for name, value in values.items()})
    return text.replace("\n", "\r\n").encode()


def _goal_state(vm: VM, roles: str) -> str:
    lines = (
        '<?xml version="1.0" encoding="utf-8"?>',
        '<GoalState xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
        ' xsi:noNamespaceSchemaLocation="goalstate10.xsd">',
        "  <Version>2012-11-30</Version>",
        f"  <Incarnation>{escape(vm.incarnation)}</Incarnation>",
        "  <Machine>",
        "    <ExpectedState>Started</ExpectedState>",
        "    <StopRolesDeadlineHint>300000</StopRolesDeadlineHint>",
        "    <LBProbePorts>",
        "      <Port>16001</Port>",
        "    </LBProbePorts>",
        "    <ExpectHealthReport>FALSE</ExpectHealthReport>",
        "  </Machine>",
        "  <Container>",
        f"    <ContainerId>{escape(vm.container_id)}</ContainerId>",
        f"    <RoleInstanceList>{roles}",
        "    </RoleInstanceList>",
        "  </Container>",
        "</GoalState>",
    )
    return "\r\n".join(lines)
