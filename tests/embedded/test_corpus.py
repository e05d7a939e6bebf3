"""The pretraining text holds nothing of the data set's validation and test splits."""

import json
import random
from itertools import chain, islice

import pytest

from embedded.corpus import corpus, exercises, lessons
from embedded.pretrain import SEED, corrupted
from raypeft.embedded import SNIPPETS

DOCUMENTS = 6_000  # of each kind, over a million tokens; one rule makes them all


def texts(split: str) -> set[str]:
    rows = [json.loads(line) for line in SNIPPETS[split].read_text(encoding="utf-8").splitlines()]
    return {row[field] for row in rows for field in ("nl", "cmd")}


@pytest.fixture(scope="module")
def pretraining_text() -> str:
    tasks = (f"{source}\x00{code}" for source, code in islice(exercises(SEED + 1), DOCUMENTS))
    basics = (f"{intent}\x00{code}" for intent, code in islice(lessons(SEED + 2), DOCUMENTS))
    return "\x01".join(chain(islice(corpus(SEED), DOCUMENTS), basics, tasks))


@pytest.mark.parametrize("split", ["validation", "test"])
def test_no_intent_and_no_command_occurs_as_text(pretraining_text, split):
    assert len(pretraining_text) > 2_000_000
    assert [text for text in texts(split) if text in pretraining_text] == []


def test_no_training_row_is_a_line_of_it(pretraining_text):
    lines = set(pretraining_text.replace("\x00", "\n").replace("\x01", "\n").split("\n"))
    assert texts("train") & lines == set()


def test_the_prompt_of_the_studies_never_occurs(pretraining_text):
    assert "### " not in pretraining_text
    assert "instruction" not in pretraining_text.lower() and "response" not in pretraining_text.lower()


def test_the_text_depends_on_the_seed_alone():
    first, again, other = (list(islice(corpus(seed), 50)) for seed in (3, 3, 4))
    assert first == again != other


def test_span_corruption_can_be_undone():
    document = "\n".join(f"{number} times word {number % 7}" for number in range(20))
    source, target = corrupted(random.Random(1), document)
    assert "<extra_id_1>" in source
    pieces = {
        f"<extra_id_{part.split('>')[0]}>": part.split(">")[1].strip(" ") for part in target.split("<extra_id_")[1:]
    }
    for sentinel, hidden in pieces.items():
        source = source.replace(sentinel, hidden, 1)
    assert source == document[:400]
