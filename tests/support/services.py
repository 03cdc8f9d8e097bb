"""Tests that need something of the machine: skipped where it is missing, failed where it must be there."""

import os
import shutil
from typing import NoReturn

import pytest


def wanted(missing: str) -> NoReturn:
    """Skip the test because of what is *missing*; fail instead under REQUIRE_SERVICES=1, as in CI."""
    if os.environ.get("REQUIRE_SERVICES") == "1":
        pytest.fail(missing)
    pytest.skip(missing)


def without_privileges() -> tuple[str, ...]:
    """Return what makes file modes count for the command behind it: nothing for most, a lost capability for root."""
    if os.geteuid() != 0:
        return ()
    if not shutil.which("setpriv"):
        wanted(
            "root writes read-only files and setpriv (util-linux) is not here: a read-only file is not shown"
        )
    return ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
