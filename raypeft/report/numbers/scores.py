"""Scores of single items: as their test wrote them, else computed from its predictions and kept with the report."""

from contextlib import suppress
from pathlib import Path

from raypeft.metrics.items import ItemScores, measure
from raypeft.runs.folder import Run, scores_file


def read_scores(run: Run, predictions: Path) -> ItemScores | None:
    """Scores of the items of one file of predictions; none where it holds none.

    Args:
        run: the run that the file belongs to.
        predictions: a file of predictions in its folder.
    """
    kept = run.report_folder / "scores" / scores_file(predictions).relative_to(run.folder)
    digest = run.digest(predictions)
    for path in (scores_file(predictions), kept):
        if (scores := _load(path, predictions, digest)) is not None:
            return scores
    rows = run.predictions(predictions)
    if not rows:
        return None
    scores = measure([str(row.id) for row in rows], [row.reference for row in rows], [row.candidates for row in rows])
    with suppress(OSError):  # a folder that is only read from; what is kept saves time, no more
        scores.save(kept, digest)
    return scores


def _load(path: Path, predictions: Path, digest: str | None) -> ItemScores | None:
    """A file of scores, unless it is damaged, older than the predictions or of others."""
    try:
        if path.stat().st_mtime_ns < predictions.stat().st_mtime_ns:
            return None
        return ItemScores.load(path, digest)
    except (OSError, ValueError):
        return None
