"""azready and the Azure Linux agent in one VM, as dist-config/examples/COMING-FROM.md has them."""

import pathlib
import re

import pytest

from build.cache import BuildError
from scripts.bootlab import together
from scripts.bootlab.faults import FAULTS
from scripts.bootlab.trial import Trial
from scripts.tasks import boot
from tests.conftest import BUILT, TOP

PAGE = TOP / "dist-config/examples/COMING-FROM.md"


def test_azready_provisions_and_the_agent_stays_for_extensions(tmp_path: pathlib.Path) -> None:
    """The boots of `scripts/boot --fault linux-agent`."""
    try:
        boot.need()
    except BuildError as error:
        pytest.skip(str(error))
    BUILT["frozen"].command()
    fault = FAULTS["linux-agent"]
    trial = Trial(fault, fault.guests[0], tmp_path)
    trial.run()
    results = trial.results
    assert {check: found.text for check, found in results.items() if found.state == "failed"} == {}
    assert results["login"].state == results["failed"].state == "passed"
    assert (tmp_path / "2/console.log").exists()


def test_the_agent_is_set_as_the_page_says() -> None:
    (line,) = re.findall(r"In `/etc/waagent.conf`, set `(.*?)`", PAGE.read_text())
    assert line == together.SETTING
