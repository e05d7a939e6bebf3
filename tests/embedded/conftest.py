"""Makes the build scripts in the repository's `embedded` folder importable: they are not installed."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
