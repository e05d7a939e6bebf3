"""`python -m raypeft`, and the command `raypeft`."""

import os
import sys

from raypeft.execution.importing import without_working_directory


def main() -> None:
    """Entry point of the command."""
    sys.path[:] = without_working_directory(sys.path)
    os.environ["PYTHONSAFEPATH"] = "1"  # of what is started from here
    from raypeft.cli import main

    main()


if __name__ == "__main__":
    main()
