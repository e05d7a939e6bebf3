"""Cells and in-context-learning runs taken over from other runs."""

import json
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from optuna.trial import TrialState

from benchmarks.recording import LORA_LOSSES, Recorder, block, prediction
from raypeft.errors import UserError
from raypeft.estimate.cost import Cost
from raypeft.output.files import read_json, write_json, write_text
from raypeft.pipeline import pending
from raypeft.report import write
from raypeft.runs.folder import Run
from raypeft.runs.identity import cell_identity, icl_identity
from raypeft.runs.ledger import Ledger, remaining
from raypeft.runs.manifest import write_manifest
from raypeft.runs.offers import doubts, other_versions
from raypeft.runs.outlook import Outlook, outlook
from raypeft.runs.records import Manifest, Record, Report, TrialEnd
from raypeft.runs.reuse import reuse, runs_in, siblings
from raypeft.spec.loading import PACKAGE
from raypeft.spec.plan import Cell, IclJob
from raypeft.spec.resolve import resolve
from raypeft.sweep.searcher import CellSearcher, storage

LORA, IA3 = Cell("tiny-decoder", "snippets", "lora"), Cell("tiny-decoder", "snippets", "ia3")
JOB = IclJob("tiny-decoder", "snippets", 1, 42)
LORA_POINTS = [
    {"target_modules": "attention", "r": 16, "lora_alpha": 32, "lora_dropout": 0.05, "learning_rate": 3e-4},
    {"target_modules": "all-linear", "r": 8, "lora_alpha": 8, "lora_dropout": 0.0, "learning_rate": 4e-5},
    {"target_modules": "attention", "r": 64, "lora_alpha": 128, "lora_dropout": 0.1, "learning_rate": 2e-3},
]
STATES = ("finished", "stopped", "finished")
STUDY = """\
question: {question}
models: [tiny-decoder]
datasets: [snippets]
techniques: [lora, ia3]
search: {{trials: 3}}
early_stopping: {{grace: 2, factor: 2}}
training: {{epochs: 3, evaluate_every: 0.5}}
icl: {{examples: [0, 1], seeds: [42]}}
"""


def start(folder: Path, *settings: str, question: str = "Which?") -> Run:
    """A run of a study named after its folder, in which nothing has happened."""
    file = folder.parent / "studies" / f"{folder.name}.yaml"
    write_text(file, STUDY.format(question=question))
    write_text(folder / "study.yaml", resolve(str(file), settings=settings).dump())
    run = Run(folder)
    write_manifest(run)
    return run


def finish_lora(run: Run, states: tuple[str, ...] = STATES) -> None:
    recorder = Recorder(run)
    for number, state in enumerate(states):
        recorder.trial(LORA, number, LORA_POINTS[number], LORA_LOSSES[number], 10.0, state)
    recorder.select(LORA, 2, 3, 0.75, 10.0, LORA_POINTS[2])
    selection = read_json(run.cell_folder(LORA) / "selection.json")
    write_json(run.cell_folder(LORA) / "selection.json", {**selection, "trials": dict(Counter(states))})
    write_text(run.cell_folder(LORA) / "best" / "adapter_model.safetensors", "weights")
    recorder.test(LORA, block(10.0, 20.0, 30.0, 25.0), [prediction(number) for number in range(3)])


@pytest.fixture
def source(tmp_path: Path) -> Run:
    """A run with one of its two cells finished, and one of two ICL runs."""
    run = start(tmp_path / "first")
    finish_lora(run)
    Recorder(run).trial(IA3, 0, {"learning_rate": 3e-4}, [2.0, 1.0], 5.0)
    Recorder(run).icl(JOB, block(1.0, 2.0, 3.0, 4.0))
    write_text(run.icl_file(JOB).with_suffix(".jsonl"), "{}\n")
    return run


def rows(run: Run, cell: Cell) -> tuple[list[Report], list[TrialEnd]]:
    return (
        [row for row in run.reports() if row.cell == cell.id],
        [row for row in run.trials() if row.cell == cell.id],
    )


def content(record: Record | None) -> dict[str, Any]:
    assert record is not None
    return record.content()


def check_taken(run: Run, source: Run) -> None:
    assert rows(run, LORA) == rows(source, LORA) and len(rows(run, LORA)[1]) == 3
    assert rows(run, IA3) == ([], [])
    assert content(run.selection(LORA)) == {"origin": str(source.folder), **content(source.selection(LORA))}
    assert run.test(LORA) == source.test(LORA) != None  # noqa: E711
    assert (run.cell_folder(LORA) / "best" / "adapter_model.safetensors").read_text() == "weights"
    assert len((run.cell_folder(LORA) / "predictions.jsonl").read_text().splitlines()) == 3
    assert not (run.folder / ".taking").exists()


def test_what_is_the_same_is_taken_and_the_rest_is_left_to_do(source: Run, tmp_path: Path) -> None:
    run = start(tmp_path / "second", question="Another question?")
    assert reuse(run, [source]) == [
        f"Taken over from {source.folder}: 1 cell (tiny-decoder/snippets/lora) and 1 in-context-learning run"
    ]
    check_taken(run, source)
    assert content(run.icl(JOB)) == {"origin": str(source.folder), **content(source.icl(JOB))}
    assert run.icl_file(JOB).with_suffix(".jsonl").read_text() == "{}\n"
    assert remaining(run.plan, Ledger(run)) == [(IA3, 0), (IA3, 1), (IA3, 2)]
    assert pending(run, ("sweep",))
    assert reuse(run, [source]) == []
    check_taken(run, source)


def test_the_samplers_journal_holds_the_taken_trials(source: Run, tmp_path: Path) -> None:
    run = start(tmp_path / "second")
    reuse(run, [source])
    technique = run.plan.resolved.techniques["lora"]
    for _ in range(2):  # and it is not changed by going on
        CellSearcher(run.plan, Ledger(run), run.folder)
        found = optuna.load_study(study_name=LORA.id, storage=storage(run.optuna_file)).get_trials()
        assert [technique.from_drawn(trial.params) for trial in found] == LORA_POINTS
        assert [trial.state for trial in found] == [TrialState.COMPLETE, TrialState.PRUNED, TrialState.COMPLETE]
        assert [list(trial.intermediate_values.values()) for trial in found] == LORA_LOSSES
    own = optuna.load_study(study_name=IA3.id, storage=storage(run.optuna_file)).get_trials()
    assert [trial.state for trial in own] == [TrialState.WAITING]


@pytest.mark.parametrize("kept", [0, 1, 7, 20, 23])
def test_an_interruption_between_cell_and_ledger_is_made_good(source: Run, tmp_path: Path, kept: int) -> None:
    """The process dies with `kept` of the 20 + 3 lines written and the next torn in the middle."""
    run = start(tmp_path / "second")
    reuse(run, [source])
    lines = [*run.reports_file.read_text().splitlines(), *run.trials_file.read_text().splitlines()]
    reports = [line for line in lines if '"report":' in line]
    assert (len(reports), len(lines)) == (20, 23)
    torn = lines[kept][:40] if kept < 23 else ""
    run.reports_file.write_text("".join(f"{line}\n" for line in reports[:kept]) + (torn if kept < 20 else ""))
    run.trials_file.write_text("".join(f"{line}\n" for line in lines[20:kept]) + (torn if kept >= 20 else ""))
    (run.folder / ".taking" / "best").mkdir(parents=True)
    subprocess.run(["rm", "-r", str(source.folder)], check=True)
    reuse(run, [])
    assert [json.dumps(row.content()) for row in (*run.reports(), *run.trials())] == [
        json.dumps(json.loads(line)) for line in (*reports, *lines[20:])
    ]


def test_a_taken_cell_keeps_its_first_origin(source: Run, tmp_path: Path) -> None:
    second, third = start(tmp_path / "second"), start(tmp_path / "third")
    reuse(second, [source])
    reuse(third, [second])
    check_taken(third, source)
    assert content(third.taken(LORA))["origin"] == str(source.folder)


@pytest.mark.parametrize(
    ("setting", "same_cell", "same_job"),
    [
        ("question=Else?", True, True),
        ("resources.concurrent=1", True, True),
        ("icl.seeds=[42, 43]", True, True),
        ("catalogue.datasets.snippets={title: Other, folder: 'embedded:snippets', columns: {intent: nl, code: cmd, "
         "id: id}, max_code_tokens: 32, stop_strings: [\"\\n\"]}", True, True),
        ("data.test=160", True, True),
        ("data.test=159", False, False),
        ("data.train=639", False, False),
        ("mode=paper", False, True),
        ("search.trials=4", False, True),
        ("search.seed=1", False, True),
        ("early_stopping=null", False, True),
        ("training.epochs=4", False, True),
        ("training.precision=bf16", False, False),
        ("training.seed=1", False, True),
        ("validation.select_by=em@10", False, True),
        ("validation.em_items=5", False, True),
        ("data.seed=1", False, True),
        ("test.beams=12", False, False),
        ("protocol.test_prompt=package", False, False),
    ],
)  # fmt: skip
def test_the_identity_is_what_results_follow_from(
    source: Run, tmp_path: Path, setting: str, same_cell: bool, same_job: bool
) -> None:
    run = start(tmp_path / "second", setting)
    same = [
        identity(run.plan, run.manifest(), target) == identity(source.plan, source.manifest(), target)  # type: ignore[operator]
        for identity, target in ((cell_identity, LORA), (icl_identity, JOB))
    ]
    assert same == [same_cell, same_job]


def test_in_the_papers_mode_the_search_does_not_count(tmp_path: Path) -> None:
    runs = [start(tmp_path / "a", "mode=paper"), start(tmp_path / "b", "mode=paper", "search.trials=5")]
    assert len({cell_identity(run.plan, run.manifest(), LORA) for run in runs}) == 1


def test_other_weights_in_the_same_folder_are_another_model(source: Run, tmp_path: Path) -> None:
    changed = json.loads(source.manifest_file.read_text())
    changed["models"]["tiny-decoder"]["sha256"] = "0" * 64
    write_json(source.manifest_file, changed)
    assert reuse(start(tmp_path / "second"), [source]) == []


def test_where_a_model_lies_does_not_count_but_every_byte_of_it(tmp_path: Path) -> None:
    def copy(name: str) -> Path:
        folder = tmp_path / name / "model"
        shutil.copytree(PACKAGE / "embedded" / "models" / "tiny-decoder", folder)
        return folder

    def entry(folder: Path) -> str:
        return f"catalogue.models.mine={{title: M, folder: '{folder}', architecture: decoder, family: llama}}"

    first, moved, other = copy("a"), copy("b"), copy("c")
    (moved / "README.md").write_text("Moved.")
    weights = bytearray((other / "model.safetensors").read_bytes())
    weights[len(weights) // 2] ^= 1
    (other / "model.safetensors").write_bytes(weights)
    cell = Cell("mine", "snippets", "lora")
    found = [
        cell_identity(run.plan, run.manifest(), cell)
        for folder in (first, moved, other)
        for run in [start(tmp_path / folder.parent.name, "models=[mine]", entry(folder))]
    ]
    assert found[0] == found[1] != found[2]


@pytest.mark.parametrize(
    ("recorded", "results", "setting", "taken"),
    [
        ({"precision": {"tiny-decoder": "fp32"}}, {"precision": "fp32"}, "", True),
        ({"precision": {"tiny-decoder": "bf16"}}, {"precision": "bf16"}, "", False),
        ({"precision": {"tiny-decoder": "bf16"}}, {"precision": "bf16"}, "training.precision=bf16", True),
        ({"precision": {"tiny-decoder": None}}, {}, "", False),
        ({"precision": {"tiny-decoder": "fp32"}}, {"precision": "bf16"}, "", False),
        ({"gpus": []}, {}, "", True),
        ({"gpus": ["NVIDIA A, 24564 MiB"]}, {}, "", False),
    ],
)
def test_only_what_was_computed_in_the_same_precision_is_taken(
    source: Run, tmp_path: Path, recorded: dict[str, Any], results: dict[str, Any], setting: str, taken: bool
) -> None:
    """Runs of before have not recorded it; those without a GPU computed in fp32, and of the others it is not known."""
    manifest = {key: value for key, value in content(source.manifest()).items() if key != "precision"}
    write_json(source.manifest_file, manifest | recorded)
    for file in (source.test_file(LORA), source.icl_file(JOB)):
        write_json(file, {**read_json(file), **results})
    run = start(tmp_path / "second", *([setting] if setting else []))
    assert bool(reuse(run, [source])) == taken
    assert (run.selection(LORA) is not None, run.icl(JOB) is not None) == (taken, taken)


def test_other_versions_of_what_computes_are_said(source: Run, tmp_path: Path) -> None:
    """Also those that may compute otherwise, peft's here, where the user allows them."""
    versions = source.manifest().versions | {"torch": "2.0.0", "peft": "0.1.0", "ray": "1.0.0"}
    write_json(source.manifest_file, {**content(source.manifest()), "versions": versions})
    run = start(tmp_path / "second")
    here = run.manifest().versions
    refusal = (
        f"Not taken over: 1 cell and 1 in-context-learning run of {source.folder}, computed with peft 0.1.0 "
        f"(here {here['peft']}); --reuse-any-version takes them over"
    )
    assert reuse(run, [source]) == [refusal] and list(run.trials()) == []
    found = outlook(run.plan, None, [source], [])
    assert [offer.refusal for offer in found.offers] == [refusal]
    assert found.seconds_left(Cost(run.plan)) == Outlook([], {}, [], [], []).seconds_left(Cost(run.plan))
    assert reuse(run, [source], any_version=True)[1:] == [
        f"  It was computed with torch 2.0.0 (here {here['torch']}), peft 0.1.0 (here {here['peft']})"
    ]


@pytest.mark.parametrize(
    ("there", "here", "named"),
    [
        ({"torch": "2.13.0+cpu"}, {"torch": "2.14.1"}, ""),
        ({"transformers": "4.57.0"}, {"transformers": "5.2.0"}, "transformers 4.57.0 (here 5.2.0)"),
        ({"peft": "0.18.1"}, {"peft": "0.18.2"}, ""),
        ({"peft": "0.18.1"}, {"peft": "0.19.0"}, "peft 0.18.1 (here 0.19.0)"),
        ({"peft": "0.0.1"}, {"peft": "0.0.2"}, "peft 0.0.1 (here 0.0.2)"),
        ({}, {"bitsandbytes": "0.49.0"}, ""),  # what was computed without it did not need it
        ({"ray": "1.0.0"}, {"ray": "2.0.0"}, ""),
    ],
)
def test_which_versions_may_compute_otherwise(there: dict[str, str], here: dict[str, str], named: str) -> None:
    assert other_versions(Manifest(versions=there), here, breaking=True) == named


@pytest.mark.parametrize("states", [("finished", "oom", "finished"), ("finished", "stopped", "error")])
def test_a_cell_with_trials_that_may_end_otherwise_elsewhere_is_not_taken(
    tmp_path: Path, states: tuple[str, ...]
) -> None:
    source = start(tmp_path / "first")
    finish_lora(source, states)
    run = start(tmp_path / "second")
    assert reuse(run, [source]) == []
    assert run.selection(LORA) is None and list(run.trials()) == []


def test_an_untested_cell_is_not_taken(source: Run, tmp_path: Path) -> None:
    (source.cell_folder(LORA) / "test.json").unlink()
    source.icl_file(JOB).unlink()
    assert reuse(start(tmp_path / "second"), [source]) == []


def test_a_cell_that_has_begun_here_is_not_taken(source: Run, tmp_path: Path) -> None:
    run = start(tmp_path / "second", "icl=null")
    Recorder(run).trial(LORA, 0, LORA_POINTS[0], [2.0], 1.0, state=None)
    assert reuse(run, [source]) == []
    assert len(list(run.reports())) == 1


@pytest.mark.parametrize("version", [None, 0])
def test_results_of_another_version_are_not_taken(source: Run, tmp_path: Path, version: int | None) -> None:
    write_json(source.manifest_file, {**content(source.manifest()), "results_version": version})
    assert reuse(start(tmp_path / "second"), [source]) == []


REST = "paper: {learning_rate: 1.0e-3}, search: {learning_rate: {log_uniform: [1.0e-5, 1.0e-1]}}"


def test_results_of_version_1_are_taken_where_the_base_was_left_whole(source: Run, tmp_path: Path) -> None:
    write_json(source.manifest_file, {**content(source.manifest()), "results_version": 1})
    assert reuse(start(tmp_path / "second"), [source]) == [
        f"Taken over from {source.folder}: 1 cell (tiny-decoder/snippets/lora) and 1 in-context-learning run"
    ]


def test_what_a_run_of_version_1_took_over_is_not_taken_from_it(source: Run, tmp_path: Path) -> None:
    second = start(tmp_path / "second")
    reuse(second, [source])
    write_json(second.manifest_file, {**content(second.manifest()), "results_version": 1})
    assert reuse(start(tmp_path / "third"), [second]) == []


@pytest.mark.parametrize(
    "technique",
    [
        "{title: P, peft: LoraConfig, arguments: {init_lora_weights: pissa}}",
        "{title: P, peft: LoraConfig, arguments: {layer_replication: [[0, 2], [1, 3]]}}",
        "{title: P, peft: LoraConfig, arguments: {modules_to_save: [lm_head]}}",
        "{title: P, peft: LoraConfig, arguments: {bias: all}}",
        "{title: P, peft: LNTuningConfig}",
    ],
)
def test_no_cell_of_a_run_of_version_1_with_another_technique_is_taken(tmp_path: Path, technique: str) -> None:
    """Also no cell of a technique that does no harm: one worker ran them all."""
    file = tmp_path / "studies" / "other.yaml"
    write_text(file, yaml.safe_dump({**yaml.safe_load(technique), **yaml.safe_load(f"{{{REST}}}")}))
    source = start(tmp_path / "first", f"techniques=[lora, ia3, {file}]")
    finish_lora(source)
    Recorder(source).icl(JOB, block(1.0, 2.0, 3.0, 4.0))
    write_text(source.icl_file(JOB).with_suffix(".jsonl"), "{}\n")
    for version, taken in ((1, 0), (2, 1)):
        write_json(source.manifest_file, {**content(source.manifest()), "results_version": version})
        doubted = doubts(Run(source.folder))
        assert [f"prove that {file.stem} left" in line for line in doubted] == [True] * (2 - version)
        assert ("In doubt" in write(Run(source.folder)).read_text(encoding="utf-8")) == bool(doubted)
        assert len(reuse(start(tmp_path / f"second-{version}"), [source])) == taken


def test_runs_beside_are_those_of_other_studies_that_can_be_read(source: Run, tmp_path: Path) -> None:
    run, third = start(tmp_path / "second"), start(tmp_path / "third")
    write_text(tmp_path / "old" / "study.yaml", "format: of another version\n")
    write_text(tmp_path / "new" / "study.yaml", third.study_file.read_text())  # nothing has begun there
    again = Run(tmp_path / "second-again")
    write_text(again.study_file, run.study_file.read_text())
    write_manifest(again)
    assert [other.folder.name for other in siblings(run.folder, "second")] == ["first", "third"]
    assert [other.folder.name for other in runs_in(again.folder)] == ["second-again"]
    assert [other.folder.name for other in runs_in(tmp_path)] == ["first", "second", "second-again", "third"]
    with pytest.raises(UserError, match=r"--reuse: .*/old holds no run that can be read"):
        runs_in(tmp_path / "old")
