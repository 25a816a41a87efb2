"""What the tests that start a cluster share: the small parts of recorded streams, and a database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def project_root() -> Path:
    """The folder that has pipelines/."""
    return ROOT


@pytest.fixture(scope="session")
def parts_folder() -> Path:
    """The small parts of recorded event streams that come with the project."""
    return ROOT / "tests" / "data"


@pytest.fixture
def database() -> Iterator[duckdb.DuckDBPyConnection]:
    """A database in memory, for the exact answers."""
    with duckdb.connect() as connection:
        yield connection
