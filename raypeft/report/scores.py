"""Scores of single items: as their test wrote them, else computed from its predictions and kept with the report."""

from pathlib import Path
from zipfile import BadZipFile

from raypeft.files import read_lines
from raypeft.metrics.items import ItemScores, measure
from raypeft.run import Run, scores_file


def read_scores(run: Run, predictions: Path) -> ItemScores | None:
    """Scores of the items of one file of predictions; none where it holds none.

    Args:
        run: the run that the file belongs to.
        predictions: a file of predictions in its folder.
    """
    kept = run.report_folder / "scores" / scores_file(predictions).relative_to(run.folder)
    for path in (scores_file(predictions), kept):
        if (scores := _load(path, predictions)) is not None:
            return scores
    rows = list(read_lines(predictions))
    if not rows:
        return None
    scores = measure(
        [row["id"] for row in rows], [row["reference"] for row in rows], [row["candidates"] for row in rows]
    )
    scores.save(kept)
    return scores


def _load(path: Path, predictions: Path) -> ItemScores | None:
    """A file of scores, unless it is damaged or older than the predictions."""
    try:
        if path.stat().st_mtime_ns < predictions.stat().st_mtime_ns:
            return None
        return ItemScores.load(path)
    except (OSError, ValueError, KeyError, BadZipFile):
        return None
