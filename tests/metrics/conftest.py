import os
from pathlib import Path

import pytest

SHARED_DATA = Path(os.environ.get("RAYPEFT_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    if not SHARED_DATA.is_dir():
        pytest.skip(f"no folder {SHARED_DATA}; RAYPEFT_SHARED_DATA may name another with the public data sets")
    return SHARED_DATA
