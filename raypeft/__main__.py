"""`python -m raypeft` is `raypeft`."""

from raypeft.cli import main

if __name__ == "__main__":
    main()
