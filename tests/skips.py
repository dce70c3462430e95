"""Which tests may be skipped where a release is made.

A skip says that a machine cannot run a test. The machine that makes a release must be able to run
all, except those that are no tests there: with AZREADY_RELEASE set, any other skip fails its test.
"""

from collections.abc import Generator

import pytest

from build import toolchain

# reason -> why the release loses nothing
EXPECTED = {
    "the test above shows it": "the same for another command line",
    "the same script with another file": "the package of another architecture",
    "apt takes packages of its own architecture": "the contents of the others are compared",
    "it is for the machine that the file is for": "the release runs it on each real processor",
    "strace would show what qemu does": "the file for this machine makes the same calls",
    "qemu itself makes code": "likewise",
    "qemu does not look for its program in PATH": "the file for this machine does",
    "scripts/bench --callgrind counts them, which takes a minute each": "those of this machine are counted",
    "its provision has no budget": "that of the default file for this machine has one",
    "terraform is no package of Debian": "what its file says, the one for Bicep and vm.sh say too",
    "root may": "for those who are not root",
}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _judge(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _judge(report)
    return report


def _judge(report: pytest.TestReport | pytest.CollectReport) -> None:
    if not (toolchain.releasing() and report.skipped) or hasattr(report, "wasxfail"):
        return
    said = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    reason = said.removeprefix("Skipped: ")
    if reason not in EXPECTED:
        report.outcome = "failed"
        report.longrepr = (
            f"skipped, which fails a release: {reason}; install what is missing, "
            "or add the reason to tests/skips.py"
        )
