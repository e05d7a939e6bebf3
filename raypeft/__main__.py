"""`python -m raypeft`, and the command `raypeft`."""

import sys

from raypeft.importing import without_working_directory


def main() -> None:
    """Entry point of the command."""
    sys.path[:] = without_working_directory(sys.path)
    from raypeft.cli import main

    main()


if __name__ == "__main__":
    main()
