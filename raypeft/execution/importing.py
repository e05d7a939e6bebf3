"""Where modules are imported from: never from the working directory, whatever lies there.

Imports only what Python has loaded itself, since it is asked first of all.
"""

import os

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def without_working_directory(entries: list[str]) -> list[str]:
    """Entries of a search path (`sys.path`, `PYTHONPATH`) but those that mean the working directory, others absolute.

    Python puts it there for `python -m` and for an empty entry of `PYTHONPATH`; it stays where this package itself lies
    in it.
    """
    here = os.path.realpath(os.curdir)
    if here == os.path.realpath(ROOT):
        return entries
    return [os.path.abspath(entry) for entry in entries if os.path.realpath(entry or os.curdir) != here]
