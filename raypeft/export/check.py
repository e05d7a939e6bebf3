"""Whether an exported folder, loaded elsewhere, is the model that was tested."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from raypeft.data.encoding import encode_prompt
from raypeft.data.prompts import Prompts
from raypeft.data.sources import Item
from raypeft.decoding.stop import cut
from raypeft.errors import UserError
from raypeft.evaluation.decoding_job import decode_items, tuned_prompts
from raypeft.export.snippet import Snippet
from raypeft.files import read_lines
from raypeft.modeling.adapters import adapted
from raypeft.modeling.loading import discard_warm, study_base
from raypeft.modeling.memory import give_back
from raypeft.run import Run
from raypeft.spec.plan import Cell, Plan
from raypeft.training.data import limits_of

SAMPLE = 4
INTENTS = ("reverse a list", "sort a list of numbers", "read a file line by line", "sum the values of a dictionary")
# How far scores, in nats a token, may lie apart: in fp32, and where numbers are rounded more coarsely.
EXACT, ROUGH = 1e-3, 0.1

Rows = Sequence[Mapping[str, Any]]


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
    ids = [encode_prompt(prompts, row["intent"], limits)[0] for row in expected]
    give_back()  # the memory of what was loaded here, for the other process
    found = _answers(snippet, ids, cell.id)
    for want, have in zip(expected, found, strict=True):
        texts = [cut(text, snippet.stop_strings) for text in have["candidates"]]
        if (fault := difference(want, {**have, "candidates": texts}, exact=exact)) is not None:
            raise UserError(
                "is not written: loaded in a process of its own it does not give the candidates of the test. For "
                f"{want['intent']!r} {fault}",
                where=cell.id,
            )


def difference(want: Mapping[str, Any], have: Mapping[str, Any], *, exact: bool) -> str | None:
    """How the candidates of an item differ by more than rounding explains, or none.

    Candidates whose scores are nearly the same may have changed places, at the end also with one that is not among
    them. Where numbers are rounded coarsely, a search takes other turns, and only the best score is compared.
    """
    near = EXACT if exact else ROUGH
    for rank, (text, score) in enumerate(zip(want["candidates"], want["scores"], strict=True)):
        other, its_score = have["candidates"][rank], have["scores"][rank]
        told = f"candidate {rank + 1} is {other!r} ({its_score:.4f}) in place of {text!r} ({score:.4f})"
        if abs(score - its_score) > near:
            return told
        if not exact:
            return None
        at = [have["scores"][place] for place, known in enumerate(have["candidates"]) if known == text]
        if not any(abs(score - one) <= near for one in at) and score - have["scores"][-1] > near:
            return told
    return None


def _tested(run: Run, cell: Cell) -> Rows:
    """A sample of what the cell's test has found; nothing where a search outside of the study cannot find the same."""
    if run.plan.resolved.study.protocol.stop_rule != "candidate":
        return []
    for dataset in run.plan.tests(cell):
        rows = list(read_lines(run.predictions_file(cell, dataset))) if run.test(cell, dataset) else []
        if rows:
            return rows[:: -(-len(rows) // SAMPLE)]
    return []


def _searched(run: Run, cell: Cell) -> Rows:
    """What the selected weights give for some intents, as a test would find it that ends each candidate by itself."""
    resolved = run.plan.resolved
    protocol = resolved.study.protocol.model_copy(update={"stop_rule": "candidate"})
    plan = Plan(resolved.model_copy(update={"study": resolved.study.model_copy(update={"protocol": protocol})}))
    base, selection = study_base(plan.resolved, cell), run.selection(cell) or {}
    items = [Item(str(number), intent, "") for number, intent in enumerate(INTENTS)]
    prompts, _ = tuned_prompts(plan, base, cell.dataset, items)
    with adapted(
        base,
        plan.resolved.techniques[cell.technique],
        selection["hyperparameters"],
        seed=plan.resolved.study.training.seed,
        saved=run.cell_folder(cell) / "best",
    ) as model:
        rows, _ = decode_items(plan, base, model, cell.dataset, items, prompts, decode_batch=1)
    discard_warm()
    return rows


def _answers(snippet: Snippet, prompts: Sequence[Sequence[int]], where: str) -> Rows:
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
    rows: Rows = json.loads(done.stdout.splitlines()[-1])
    return rows
