"""A skip that nobody expects fails a release, tried with a pytest of its own."""

import os
import pathlib
import subprocess
import sys

import pytest

from tests.conftest import TOP
from tests.skips import EXPECTED

HOOKS = """
from tests.skips import pytest_make_collect_report, pytest_runtest_makereport
"""
TESTS = f"""
import pytest

def test_that_runs(): pass
def test_expected(): pytest.skip({next(iter(EXPECTED))!r})
@pytest.mark.xfail
def test_that_fails(): assert False
"""


def outcome(folder: pathlib.Path, tests: str, release: str) -> tuple[int, str]:
    (folder / "conftest.py").write_text(HOOKS)
    (folder / "test_it.py").write_text(TESTS + tests)
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rA", "-p", "no:cacheprovider", folder],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(TOP), "AZREADY_RELEASE": release},
        capture_output=True,
        text=True,
    )
    return result.returncode, result.stdout


@pytest.mark.parametrize(
    "tests",
    [
        "def test_new(): pytest.skip('no such tool')",
        "@pytest.mark.skipif(True, reason='no such tool')\ndef test_new(): pass",
        "@pytest.fixture\ndef it(): pytest.skip('no such tool')\ndef test_new(it): pass",
        "pytest.skip('no such tool', allow_module_level=True)",
    ],
)
def test_an_unexpected_skip_fails_a_release(tmp_path: pathlib.Path, tests: str) -> None:
    assert outcome(tmp_path, tests, "")[0] in (0, 5)  # 5: no test was left
    code, said = outcome(tmp_path, tests, "1")
    assert code in (1, 2)
    assert "skipped, which fails a release: no such tool; install what is missing" in said


def test_expected_skips_and_failures_do_not(tmp_path: pathlib.Path) -> None:
    code, said = outcome(tmp_path, "", "1")
    assert (code, "1 passed, 1 skipped, 1 xfailed" in said) == (0, True), said


def test_every_expected_reason_is_still_given() -> None:
    texts = [path.read_text() for path in (TOP / "tests").rglob("test_*.py")]
    assert [reason for reason in EXPECTED if not any(f'"{reason}"' in text for text in texts)] == []
