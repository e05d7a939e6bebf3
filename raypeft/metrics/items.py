"""What each test item contributes to every metric: the ground of intervals and of comparisons on the same items."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
from numpy.typing import NDArray

from raypeft.metrics.composition import Array
from raypeft.metrics.entries import METRICS
from raypeft.metrics.exact_match import KS, ast_match_rank, exact_match, match_rank
from raypeft.output.files import open_regular, write_bytes

Ranks = NDArray[np.int64]

MOST_BYTES = 2**28
"""Of a file of scores when it is unpacked; a hundred thousand items take less."""


@dataclass(frozen=True)
class ItemScores:
    """The items of one test, in the order of its predictions.

    Attributes:
        ids: of the items; not necessarily unique.
        rank: of the first candidate that equals the reference, from 1; 0 where none does. Shape (items,).
        ast_rank: the same by syntax tree.
        counts: what ``METRICS`` count, by key, each of shape (items, its width); a test that was measured before a
            metric existed lacks it.
        candidates: largest number of candidates an item has.
        tokens: lengths in tokens by what was measured (prompt, reference, prediction), each of shape (items,); empty
            where nobody had a tokenizer.
    """

    ids: tuple[str, ...]
    rank: Ranks
    ast_rank: Ranks
    counts: Mapping[str, Array]
    candidates: int
    tokens: Mapping[str, Ranks] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def ks(self) -> list[int]:
        """The k of EM@k that the candidates allow."""
        return [k for k in KS if k <= self.candidates]

    def hits(self, k: int, *, tree: bool = False) -> NDArray[np.bool_]:
        """Which items have their reference among the first k candidates."""
        rank = self.ast_rank if tree else self.rank
        return (rank > 0) & (rank <= k)

    def block(self) -> dict[str, Any]:
        """The metrics of the whole test, as ``raypeft.metrics.score`` returns them."""
        text = exact_match([int(rank) or None for rank in self.rank], self.ks)
        tree = exact_match([int(rank) or None for rank in self.ast_rank], self.ks)
        return {
            "items": len(self),
            **{f"em@{k}": percent for k, percent in text.items()},
            **{f"em_ast@{k}": percent for k, percent in tree.items()},
            **{key: METRICS[key].block(counts) for key, counts in self.counts.items()},
        }

    def save(self, path: Path, predictions: str | None = None) -> None:
        """Write everything as one compressed NumPy archive, atomically.

        Args:
            path: the file.
            predictions: SHA-256 of the file of predictions that was measured, which the archive then belongs to.
        """
        arrays: dict[str, Any] = {name: getattr(self, name) for name in ("ids", "rank", "ast_rank", "candidates")}
        arrays.update(self.counts)
        if predictions is not None:
            arrays["predictions"] = predictions
        arrays.update({f"tokens_{name}": lengths for name, lengths in self.tokens.items()})
        buffer = BytesIO()
        np.savez_compressed(buffer, **arrays)
        write_bytes(path, buffer.getvalue())

    @classmethod
    def load(cls, path: Path, predictions: str | None = None) -> "ItemScores":
        """Read what ``save`` wrote.

        Args:
            path: the file.
            predictions: SHA-256 of the predictions that it has to belong to, where it says to which it does.

        Raises:
            OSError: there is no such file.
            ValueError: it is damaged, or of other predictions.
        """
        with open_regular(path) as stream:
            content = stream.read()
        try:
            with ZipFile(BytesIO(content)) as entries:
                if sum(entry.file_size for entry in entries.infolist()) > MOST_BYTES:
                    raise ValueError("more than scores ever take")
            with np.load(BytesIO(content), allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive}
            tokens = {name.removeprefix("tokens_"): arrays[name] for name in arrays if name.startswith("tokens_")}
            scores = cls(
                ids=tuple(map(str, arrays["ids"])),
                candidates=int(arrays["candidates"]),
                tokens=tokens,
                rank=arrays["rank"],
                ast_rank=arrays["ast_rank"],
                counts={key: arrays[key] for key in METRICS if key in arrays},
            )
            whose = str(arrays.get("predictions", predictions))
            consistent = scores._fits_together()
        except Exception as error:  # a damaged archive raises whatever zlib, zipfile and NumPy stumble over
            raise ValueError(f"{path.name} is damaged: {error}") from error
        if not consistent or (predictions is not None and whose != predictions):
            raise ValueError(f"{path.name} is damaged or of other predictions")
        return scores

    def _fits_together(self) -> bool:
        """Whether there is a finite number for every item."""
        items = len(self)
        ranks = (self.rank, self.ast_rank, *self.tokens.values())
        return (
            all(one.shape == (items,) and np.issubdtype(one.dtype, np.integer) and (one >= 0).all() for one in ranks)
            and all(counts.shape == (items, METRICS[key].width) for key, counts in self.counts.items())
            and all(np.isfinite(counts).all() for counts in self.counts.values())
            and 0 <= max(self.rank.max(initial=0), self.ast_rank.max(initial=0)) <= self.candidates
        )


def measure(
    ids: Sequence[str],
    references: Sequence[str],
    candidates: Sequence[Sequence[str]],
    tokens: Mapping[str, Sequence[int]] | None = None,
) -> ItemScores:
    """Return what every item contributes to every metric.

    All but EM@k is of an item's first candidate; an item without candidates counts as an empty prediction.

    Args:
        ids: of the items.
        references: one text an item.
        candidates: for each item its candidates, best first.
        tokens: lengths that are to be kept with the items, by name.

    Raises:
        ValueError: when the numbers of ids, references and lists of candidates differ.
        UserError: when the installed ``tree-sitter-python`` does not fit ``codebleu``.
    """
    items = list(zip(ids, references, candidates, strict=True))
    predictions = [ranked[0] if ranked else "" for ranked in candidates]
    return ItemScores(
        ids=tuple(ids),
        rank=_ranks([match_rank(reference, ranked) for _, reference, ranked in items]),
        ast_rank=_ranks([ast_match_rank(reference, ranked) for _, reference, ranked in items]),
        counts={key: metric.count(references, predictions) for key, metric in METRICS.items()},
        candidates=max(map(len, candidates), default=0),
        tokens={name: np.array(lengths, dtype=np.int64) for name, lengths in (tokens or {}).items()},
    )


def _ranks(found: Sequence[int | None]) -> Ranks:
    return np.array([rank or 0 for rank in found], dtype=np.int64)
