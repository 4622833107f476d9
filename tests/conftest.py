"""Fixtures shared by all tests."""

import os
from pathlib import Path

import pytest

# Spinning OpenMP threads multiply processor time on a busy machine; both must be set before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real data sets that tests may read."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"the real data sets are not beside this checkout ({SHARED_DATA.name} folder missing)")
    return SHARED_DATA
