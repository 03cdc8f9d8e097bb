"""Tests that need something of the machine: skipped where it is missing, failed where it must be there."""

import os
from typing import NoReturn

import pytest


def wanted(missing: str) -> NoReturn:
    """Skip the test because of what is *missing*; fail instead under REQUIRE_SERVICES=1, as in CI."""
    if os.environ.get("REQUIRE_SERVICES") == "1":
        pytest.fail(missing)
    pytest.skip(missing)
