"""Rows that the `datasets` library finds by configuration and split, in any of its formats and parts."""

import logging
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from raypeft.data.rows import MOST_ROWS, Row, shortened, too_many
from raypeft.errors import UserError

_LONGEST = 300


def configured_rows(folder: Path, configuration: str, split: str, where: str) -> Iterator[Row]:
    """Rows of a split as they stand in the files of a folder, each with its place; nothing is copied or fetched.

    Args:
        folder: with all of the data set.
        configuration: one that it has; `default` where it names none.
        split: as it is called there.
        where: of the data set in a study, for messages.

    Raises:
        UserError: it has no such configuration or split, or cannot be read.
    """
    import datasets

    datasets.disable_progress_bars()
    datasets.logging.set_verbosity(logging.CRITICAL)  # what is wrong is said once, by the message
    with TemporaryDirectory() as cache:  # it writes locks even for what it only reads
        try:
            rows = datasets.load_dataset(str(folder), configuration, split=split, streaming=True, cache_dir=cache)
            for number, row in enumerate(rows, start=1):
                if number > MOST_ROWS:
                    raise too_many(folder)
                yield f"row {number}", row
        except UserError:
            raise
        except Exception as error:  # whatever its readers and theirs raise
            reason = " ".join(str(error).split()) or type(error).__name__
            raise UserError(f"{folder} cannot be read: {shortened(reason, _LONGEST)}", where=where) from error
