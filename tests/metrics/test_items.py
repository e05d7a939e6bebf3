"""What items contribute, put together again, is the metric of the whole."""

from pathlib import Path

import numpy as np
import pytest
from sacrebleu.metrics import CHRF

from raypeft.metrics import score
from raypeft.metrics.chrf import chrf_counts, chrf_score
from raypeft.metrics.composition import compose
from raypeft.metrics.items import ItemScores, measure
from tests.metrics.measured import codebleu_items

REFERENCES = ["x = a + b", "sorted(a, reverse=True)", "print('größe')", "", "for i in a:\n    b(i)"]
CANDIDATES = [["x = a", "x = a + b"], ["sorted( a, reverse = True )"], [], ["", "y"], ["for i in a: b(i)", "c"]]


@pytest.fixture
def items() -> ItemScores:
    return measure([*"abcde"], REFERENCES, CANDIDATES, {"prompt": [3, 4, 5, 6, 7]})


def test_ranks_and_hits(items: ItemScores) -> None:
    assert items.rank.tolist() == [2, 0, 0, 1, 0]
    assert items.ast_rank.tolist() == [2, 1, 0, 1, 1]
    assert items.hits(1).tolist() == [False, False, False, True, False]
    assert items.hits(2, tree=True).tolist() == [True, True, False, True, True]
    assert (items.ks, len(items)) == ([1, 2], 5)


def test_they_add_up_to_the_metrics(items: ItemScores) -> None:
    assert items.block() == score(REFERENCES, CANDIDATES)
    predictions = [ranked[0] if ranked else "" for ranked in CANDIDATES]
    assert compose(items.counts["codebleu"])[:, 0] == pytest.approx(codebleu_items(REFERENCES, predictions))


def test_chrf_is_sacrebleus() -> None:
    predictions = [ranked[0] if ranked else "" for ranked in CANDIDATES]
    counts = chrf_counts(REFERENCES, predictions)
    assert chrf_score(counts.sum(axis=0)) == pytest.approx(CHRF().corpus_score(predictions, [REFERENCES]).score)
    for row, reference, prediction in zip(counts, REFERENCES, predictions, strict=True):
        assert chrf_score(row) == pytest.approx(CHRF().sentence_score(prediction, [reference]).score)


def test_they_are_kept_in_a_file(items: ItemScores, tmp_path: Path) -> None:
    path = tmp_path / "folder" / "items.npz"
    items.save(path)
    kept = ItemScores.load(path)
    assert kept.ids == items.ids and kept.block() == items.block()
    assert kept.tokens["prompt"].tolist() == [3, 4, 5, 6, 7]
    for name in ("rank", "ast_rank"):
        assert np.array_equal(getattr(kept, name), getattr(items, name))
    for name in ("codebleu", "codebleu_flat", "chrf"):
        assert np.array_equal(kept.counts[name], items.counts[name])


def test_a_damaged_file_is_noticed(items: ItemScores, tmp_path: Path) -> None:
    path = tmp_path / "items.npz"
    items.save(path)
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(ValueError):
        ItemScores.load(path)


def test_a_file_with_a_flipped_bit_is_read_right_or_is_damaged(items: ItemScores, tmp_path: Path) -> None:
    path = tmp_path / "items.npz"
    items.save(path, "0" * 64)
    content, damaged = path.read_bytes(), 0
    for place in range(0, len(content), 7):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1 << place % 8]) + content[place + 1 :])
        try:
            assert ItemScores.load(path, "0" * 64).block() == items.block()
        except ValueError:
            damaged += 1
    assert damaged > 100


def test_a_file_belongs_to_its_predictions(items: ItemScores, tmp_path: Path) -> None:
    path = tmp_path / "items.npz"
    items.save(path, "0" * 64)
    assert len(ItemScores.load(path, "0" * 64)) == len(ItemScores.load(path)) == 5
    with pytest.raises(ValueError, match="of other predictions"):
        ItemScores.load(path, "1" * 64)


def test_no_items_have_metrics() -> None:
    assert measure([], [], []).block()["items"] == 0
