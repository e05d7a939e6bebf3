"""A whole study, and one that is interrupted."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from codebleu import bleu, weighted_ngram_match

from raypeft.execution import dashboard
from raypeft.metrics.items import ItemScores
from raypeft.output.files import read_json
from raypeft.runs.folder import Run
from raypeft.spec.plan import Cell
from tests.driving import ALONE, COMMAND, SETTINGS, lines, snapshot, study
from tests.report.browser import check_report
from tests.sweep.test_tensorboard import scalars

pytestmark = pytest.mark.slow(minutes=4)

QUICK = ["quickstart", "--model", "tiny-decoder", "--technique", "full", "--technique", "lora"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("study")


@pytest.fixture(scope="module")
def finished(home: Path) -> Run:
    done = study(*QUICK, *SETTINGS, cwd=home)
    assert done.returncode == 0, done.stdout + done.stderr
    return Run(home / "runs" / "quickstart")


def check_complete(run: Run) -> None:
    """Every planned trial and job once, every report once and in order."""
    trials = lines(run.trials_file)
    assert Counter(row["trial"] for row in trials) == Counter(
        cell.trial_name(number) for cell in run.plan.cells for number in range(3)
    )
    reports = lines(run.reports_file)
    for row in trials:
        numbers = [report["report"] for report in reports if report["trial"] == row["trial"]]
        assert numbers == list(range(len(numbers)))
        assert row["reports"] == len(numbers)
        curve = scalars(run.tensorboard_folder / row["trial"], "validation_loss")
        assert [step for step, _ in curve] == numbers
        last = 5 if row["state"] == "finished" else int(re.findall(r"at report (\d+)", row["reason"])[0])
        assert numbers[-1] == last and last in (2, 4, 5)
    for cell in run.plan.cells:
        assert len(lines(run.cell_folder(cell) / "predictions.jsonl")) == 10
    # zero examples once, one example with two seeds
    assert sorted(str(path.relative_to(run.folder / "icl")) for path in (run.folder / "icl").rglob("*.json")) == [
        "tiny-decoder/snippets/0-shot-seed-42.json",
        "tiny-decoder/snippets/1-shot-seed-42.json",
        "tiny-decoder/snippets/1-shot-seed-777.json",
    ]


def test_everything_planned_is_there_once(finished: Run) -> None:
    check_complete(finished)
    assert (finished.report_folder / "index.html").exists()
    states = Counter(row["state"] for row in lines(finished.trials_file))
    assert states["stopped"] >= 1 and states["finished"] >= 2 and set(states) == {"stopped", "finished"}


def test_its_report_works_in_a_browser(finished: Run) -> None:
    check_report(finished.report_folder / "index.html")


def test_trials_after_each_other_on_one_worker_have_points_of_their_own(finished: Run) -> None:
    """What the checkpoints say (cf. ultralytics#23791, where each trial ran with the first one's hyperparameters)."""
    rates = set()
    for row in lines(finished.trials_file):
        point = row["hyperparameters"]
        for checkpoint in finished.trial_folder(row["trial"]).glob("checkpoint-*"):
            if (checkpoint / "optimizer.pt").exists():
                group = torch.load(checkpoint / "optimizer.pt", weights_only=True)["param_groups"][0]
                assert group["initial_lr"] == pytest.approx(point["learning_rate"])
                rates.add((row["cell"], group["initial_lr"]))
            if "r" in point:
                saved = json.loads((checkpoint / "adapter_config.json").read_text())
                assert (saved["r"], saved["lora_alpha"]) == (point["r"], point["lora_alpha"])
    assert len(rates) == finished.plan.trials


def test_selection_takes_the_lowest_validation_loss_of_the_cell(finished: Run) -> None:
    for cell in finished.plan.cells:
        losses = {
            (row["trial"], row["report"]): row["validation_loss"]
            for row in lines(finished.reports_file)
            if row["cell"] == cell.id
        }
        selection = finished.selection(cell)
        assert selection is not None
        chosen = (selection.trial, selection.checkpoint_report)
        assert losses[chosen] == min(losses.values()) == selection.validation_loss


def test_a_second_time_nothing_is_computed(finished: Run, home: Path) -> None:
    before, page = snapshot(finished.folder), finished.report_folder / "index.html"
    written = page.stat().st_mtime_ns
    again = study(*QUICK, *SETTINGS, cwd=home)
    assert again.returncode == 0, again.stdout + again.stderr
    assert snapshot(finished.folder) == before
    assert "Ray dashboard" not in again.stdout
    assert page.stat().st_mtime_ns == written and f"Report: {page}" in again.stdout
    page.unlink()
    assert study(*QUICK, *SETTINGS, cwd=home).returncode == 0
    assert page.exists() and snapshot(finished.folder) == before


def test_a_study_does_only_what_another_has_not_done(finished: Run, home: Path) -> None:
    """The second trains one technique of two, and tests none again; the third does not even start Ray."""
    ia3, lora = ("--technique", "ia3"), ("--technique", "lora")
    more = [*QUICK[:3], *SETTINGS, *ALONE]
    done = study(*more, *lora, *ia3, "--out", "runs/second", "--reuse", "runs/quickstart", cwd=home)
    assert done.returncode == 0, done.stdout + done.stderr
    cell = "tiny-decoder/snippets/lora"
    assert f"Taken over from {finished.folder}: 1 cell ({cell}) and 3 in-context-learning runs" in done.stdout
    second = Run(home / "runs" / "second")
    ledgers = [[lines(run.trials_file), lines(run.reports_file)] for run in (finished, second)]
    taken, same = ([[row for row in rows if row["cell"] == cell] for rows in ledger] for ledger in ledgers)
    assert taken == same and len(taken[0]) == 3 and len(ledgers[1][0]) == 6
    assert second.test(Cell.parse(cell)) == finished.test(Cell.parse(cell))
    assert not list(second.folder.glob("trials/*lora*"))
    page = (second.report_folder / "index.html").read_text(encoding="utf-8")
    assert f"taken over from {finished.folder}" in page
    third = study(*more, *ia3, "--out", "runs/third", "--reuse", "runs/second", cwd=home)
    assert third.returncode == 0 and "Ray" not in third.stdout, third.stdout + third.stderr


def results(run: Run) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    for cell in run.plan.cells:
        folder = run.cell_folder(cell)
        yield json.loads((folder / "test.json").read_text()), lines(folder / "predictions.jsonl")
    for path in sorted((run.folder / "icl").rglob("*.json")):
        yield json.loads(path.read_text()), lines(path.with_suffix(".jsonl"))


def test_exact_match_can_be_recomputed_from_the_predictions(finished: Run) -> None:
    """By the replication package's rule, written out here."""

    def flat(text: str) -> str:
        return text.strip().replace("\n", " ").replace("\t", " ")

    seen = 0
    for result, predictions in results(finished):
        for k in (1, 2, 5, 10):
            hits = [flat(row["reference"]) in [flat(text) for text in row["candidates"][:k]] for row in predictions]
            assert result["metrics"][f"em@{k}"] == pytest.approx(100 * sum(hits) / len(hits))
        assert all(len(row["candidates"]) == len(row["scores"]) == 10 for row in predictions)
        assert all(row["scores"] == sorted(row["scores"], reverse=True) for row in predictions)
        seen += 1
    assert seen == 5


def test_every_test_keeps_what_its_items_contribute(finished: Run) -> None:
    for cell in finished.plan.cells:
        folder = finished.cell_folder(cell)
        result, predictions = json.loads((folder / "test.json").read_text()), lines(folder / "predictions.jsonl")
        scores = ItemScores.load(folder / "predictions.items.npz")
        assert scores.ids == tuple(row["id"] for row in predictions)
        assert scores.block() == result["metrics"]
        assert all(4 <= length <= 192 for length in scores.tokens["prompt"])
        assert all(0 < length <= 128 for length in scores.tokens["reference"])
    assert len(list((finished.folder / "icl").rglob("*.items.npz"))) == 3


def test_codebleu_can_be_recomputed_by_the_upstream_evaluator(finished: Run) -> None:
    """N-gram and weighted n-gram match of `codebleu_flat`, straight from the codebleu package on words."""
    keywords = set((Path(bleu.__file__).parent / "keywords" / "python.txt").read_text(encoding="utf-8").splitlines())
    for result, predictions in results(finished):
        references = [row["reference"].strip().split() for row in predictions]
        candidates = [row["candidates"][0].strip().split() for row in predictions]
        found = result["metrics"]["codebleu_flat"]
        assert found["ngram"] == pytest.approx(100 * bleu.corpus_bleu([[words] for words in references], candidates))
        weights = [{word: 1 if word in keywords else 0.2 for word in words} for words in references]
        weighted = weighted_ngram_match.corpus_bleu(
            [[[words, weight]] for words, weight in zip(references, weights, strict=True)], candidates
        )
        assert found["weighted_ngram"] == pytest.approx(100 * weighted)
        parts = [found["ngram"], found["weighted_ngram"], found["syntax"], found["dataflow"]]
        assert found["score"] == pytest.approx(sum(parts) / 4)


def wait_for(condition: Any, process: subprocess.Popen[str], seconds: float = 200) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, "the study ended before it could be interrupted"
        assert time.monotonic() < deadline
        time.sleep(0.2)


def count(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines()) if path.exists() else 0


def check_actors(run: Run) -> None:
    """The dashboard of a running sweep is found, lets in who has the token, and lists trials by their names."""
    found = dashboard.running(run)
    assert found is not None and found.asks_for_token()
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": str(found.token())}
    listing = (
        "from ray.util.state import list_actors; import sys; print(*(actor.name for actor in list_actors(sys.argv[1])))"
    )
    listed = subprocess.run(
        [sys.executable, "-c", listing, found.url], env=os.environ | token, capture_output=True, text=True, timeout=60
    )
    assert listed.returncode == 0, listed.stderr
    trials = {cell.trial_name(number) for cell in run.plan.cells for number in range(3)}
    assert trials & set(listed.stdout.split())
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(f"{found.url}/api/v0/actors")


def test_interrupted_and_started_again_it_completes(home: Path, finished: Run) -> None:
    """Ctrl-C in the sweep, and again in the evaluation; the results equal those of the undisturbed run where order
    cannot matter: the paper's point of the first cell, which no rung can stop, has the same losses to the last bit.
    Of its checkpoints just the selected one stays."""
    folder = home / "interrupted"
    sparing = ["--set", "resources.keep_checkpoints=best"]
    arguments = [*QUICK[:-2], *SETTINGS, *ALONE, *sparing, "--out", str(folder)]
    run = Run(folder)
    kept: list[dict[str, Any]] = []
    for phase in ("sweep", "evaluation"):
        with subprocess.Popen(
            [*COMMAND, *arguments],
            cwd=home,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored in the background
        ) as process:
            if phase == "sweep":
                wait_for(lambda: count(run.trials_file) >= 1 and count(run.reports_file) >= 8, process)
                check_actors(run)
            else:
                wait_for(lambda: any(folder.glob("cells/*/*/*/test.json")), process)
            children = psutil.Process(process.pid).children(recursive=True)
            process.send_signal(signal.SIGINT)
            output, _ = process.communicate(timeout=60)
        assert process.returncode == 130, output
        assert "The same command goes on" in output and "Traceback" not in output
        _, alive = psutil.wait_procs(children, timeout=20)
        assert [child for child in alive if child.status() != psutil.STATUS_ZOMBIE] == []
        assert lines(run.trials_file)[: len(kept)] == kept
        kept = lines(run.trials_file)

    again = study(*arguments, cwd=home)
    assert again.returncode == 0, again.stdout + again.stderr
    assert lines(run.trials_file) == kept
    check_complete(run)
    first = "tiny-decoder·full·snippets·000"
    losses = [
        [row["validation_loss"] for row in lines(which.reports_file) if row["trial"] == first]
        for which in (run, finished)
    ]
    shared = min(map(len, losses))
    assert shared >= 3 and losses[0][:shared] == losses[1][:shared]
    for cell in run.plan.cells:
        selection = run.selection(cell)
        assert selection is not None
        checkpoints = list(folder.glob(f"trials/{cell.trial_name(0)[:-3]}*/checkpoint-*/report.json"))
        (kept_one,) = [read_json(file) for file in checkpoints]
        assert kept_one is not None and kept_one["report"] == selection.checkpoint_report


def test_a_technique_peft_does_not_know_is_a_users_mistake(tmp_path: Path) -> None:
    (tmp_path / "search_spaces").mkdir()
    (tmp_path / "search_spaces" / "odd.yaml").write_text(
        "title: Odd\npeft: LoraConfig\narguments: {biass: none}\n"
        "paper: {learning_rate: 1.0e-3}\nsearch: {learning_rate: {choice: [1.0e-3]}}\n"
    )
    (tmp_path / "odd-study.yaml").write_text(
        "question: Is it understood?\nmodels: [tiny-decoder]\ndatasets: [snippets]\ntechniques: [odd]\n"
    )
    done = study("odd-study.yaml", *SETTINGS, cwd=tmp_path)
    assert done.returncode == 2
    assert "techniques.odd.arguments.biass" in done.stderr and "Traceback" not in done.stdout + done.stderr
    refused = Run(tmp_path / "runs" / "odd-study")
    assert refused.study_file.exists() and not refused.begun  # mended, the study is taken
