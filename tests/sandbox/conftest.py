"""Sandboxes that are started once, and what the tests look at from outside."""

import sys
from collections.abc import Iterator

import pytest

pytest.importorskip("matplotlib")

from vlmrl.sandbox import Limits, Sandbox


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not sys.platform.startswith("linux"):
        for item in items:
            item.add_marker(pytest.mark.skip(reason="the sandbox needs Linux"))


@pytest.fixture(scope="package")
def sandbox() -> Iterator[Sandbox]:
    """Limits that nothing honest comes near, on a slow machine either."""
    with Sandbox(workers=1, limits=Limits(wall_seconds=60, cpu_seconds=30)) as one:
        yield one


@pytest.fixture(scope="package")
def hasty() -> Iterator[Sandbox]:
    """For scripts that are meant to run into a limit of time."""
    with Sandbox(workers=1, limits=Limits(wall_seconds=3, cpu_seconds=1)) as one:
        yield one
