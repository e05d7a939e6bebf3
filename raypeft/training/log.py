"""The log of one trial."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# transformers keeps its messages from the root logger.
SOURCES = ("", "transformers")
FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


@contextmanager
def trial_log(path: Path) -> Iterator[logging.Logger]:
    """A logger whose messages, and the warnings of every library meanwhile, are appended to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter(FORMAT))
    log = logging.getLogger("raypeft.trial")
    log.setLevel(logging.INFO)
    logging.captureWarnings(True)
    for source in SOURCES:
        logging.getLogger(source).addHandler(handler)
    try:
        yield log
    finally:
        for source in SOURCES:
            logging.getLogger(source).removeHandler(handler)
        logging.captureWarnings(False)
        handler.close()
