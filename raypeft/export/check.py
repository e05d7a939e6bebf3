"""Whether an exported folder, loaded elsewhere, is the model that was tested."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from raypeft.data.encoding import encode_prompt
from raypeft.data.prompts import Prompts
from raypeft.decoding.stop import cut
from raypeft.errors import UserError
from raypeft.evaluation.generate import searched
from raypeft.export.snippet import Snippet
from raypeft.modeling.loading import discard_warm
from raypeft.modeling.memory import give_back
from raypeft.runs.folder import Run
from raypeft.runs.records import Prediction
from raypeft.spec.plan import Cell, Plan
from raypeft.training.data import limits_of

SAMPLE = 4
INTENTS = ("reverse a list", "sort a list of numbers", "read a file line by line", "sum the values of a dictionary")
# How far scores, in nats a token, may lie apart: in fp32, and where numbers are rounded more coarsely.
EXACT, ROUGH = 1e-3, 0.05


@dataclass(frozen=True)
class Answer:
    """What another process finds for a prompt, best first."""

    candidates: list[str]
    scores: list[float]


def check_folder(run: Run, cell: Cell, snippet: Snippet, prompts: Prompts, *, exact: bool) -> None:
    """Load a written folder in a fresh process by the lines of its card, and compare it with the cell's test.

    Args:
        run: the run.
        cell: what was exported.
        snippet: how the folder is loaded here, and searched with.
        prompts: how the model is prompted.
        exact: whether the test and the folder compute in fp32; else only scores are compared, roughly.

    Raises:
        UserError: it cannot be loaded, or does not give the test's candidates.
    """
    expected = _tested(run, cell) or _searched(run, cell)
    limits = limits_of(run.plan, run.plan.resolved.datasets[cell.dataset])
    ids = [encode_prompt(prompts, row.intent, limits)[0] for row in expected]
    give_back()  # the memory of what was loaded here, for the other process
    found = _answers(snippet, ids, cell.id)
    fault = differences(expected, found, snippet.stop_strings) if exact else distance(expected, found)
    if fault is not None:
        raise UserError(
            f"is not written: loaded in a process of its own it does not give the candidates of the test. {fault}",
            where=cell.id,
        )


def differences(expected: Sequence[Prediction], found: Sequence[Answer], stop_strings: Sequence[str]) -> str | None:
    """How candidates differ by more than rounding explains, or none.

    Candidates whose scores are nearly the same may have changed places, at the end also with one that is not among
    them.
    """
    for want, have in zip(expected, found, strict=True):
        texts, scores = [cut(text, stop_strings) for text in have.candidates], have.scores
        for rank, (text, score) in enumerate(zip(want.candidates, want.scores, strict=True)):
            at = [one for known, one in zip(texts, scores, strict=True) if known == text]
            as_good = any(abs(score - one) <= EXACT for one in at) or score - scores[-1] <= EXACT
            if abs(score - scores[rank]) > EXACT or not as_good:
                return (
                    f"For {want.intent!r} candidate {rank + 1} is {texts[rank]!r} ({scores[rank]:.4f}) in place of "
                    f"{text!r} ({score:.4f})"
                )
    return None


def distance(expected: Sequence[Prediction], found: Sequence[Answer]) -> str | None:
    """How far the best scores lie apart, by the median item, or none where that is no more than rounding.

    Where numbers are rounded coarsely, searches take other turns, those of single items far ones.
    """
    apart = median(abs(want.scores[0] - have.scores[0]) for want, have in zip(expected, found, strict=True))
    return f"Its best scores lie {apart:.3f} apart from those" if apart > ROUGH else None


def _tested(run: Run, cell: Cell) -> list[Prediction]:
    """A sample of what the cell's test has found; nothing where a search outside of the study cannot find the same."""
    if run.plan.resolved.study.protocol.stop_rule != "candidate":
        return []
    for dataset in run.plan.tests(cell):
        rows = run.predictions(run.predictions_file(cell, dataset)) if run.test(cell, dataset) else []
        if rows:
            return rows[:: -(-len(rows) // SAMPLE)]
    return []


def _searched(run: Run, cell: Cell) -> list[Prediction]:
    """What the selected weights give for some intents, as a test would find it that ends each candidate by itself."""
    resolved = run.plan.resolved
    protocol = resolved.study.protocol.model_copy(update={"stop_rule": "candidate"})
    plan = Plan(resolved.model_copy(update={"study": resolved.study.model_copy(update={"protocol": protocol})}))
    rows = searched(run, plan, cell, INTENTS, decode_batch=1)
    discard_warm()
    return rows


def _answers(snippet: Snippet, prompts: Sequence[Sequence[int]], where: str) -> list[Answer]:
    task = {"loading": snippet.loading, "search": snippet.search, "prompts": prompts}
    done = subprocess.run(
        [sys.executable, "-P", str(Path(__file__).with_name("stranger.py"))],
        input=json.dumps(task),
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        reason = next((line.strip() for line in reversed(done.stderr.splitlines()) if line.strip()), "it was killed")
        raise UserError(f"is not written: it cannot be loaded in a process of its own: {reason}", where=where)
    return [Answer(**row) for row in json.loads(done.stdout.splitlines()[-1])]
