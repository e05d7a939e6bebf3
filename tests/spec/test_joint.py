"""Joint data sets: trained on together, tested on each part by itself."""

from pathlib import Path

import pytest

from raypeft.errors import UserError
from raypeft.runs.folder import Run
from raypeft.spec.plan import Cell, Plan
from raypeft.spec.resolve import ResolvedStudy, resolve
from tests.conftest import WriteStudy

STUDY = """\
question: Does training on both help?
models: [tiny-decoder]
datasets: [snippets, both]
techniques: [lora]
icl: {examples: [1], seeds: [5]}
catalogue:
  datasets:
    other: {title: Other, folder: /data/other}
    both: {title: Both, join: [snippets, other], max_code_tokens: 128}
"""
SINGLE, JOINT = Cell("tiny-decoder", "snippets", "lora"), Cell("tiny-decoder", "both", "lora")


def test_a_joint_cell_is_tested_on_each_of_its_parts(write_study: WriteStudy) -> None:
    plan = Plan(resolve(write_study(STUDY)))
    assert plan.cells == [SINGLE, JOINT]
    assert plan.tests(SINGLE) == ["snippets"]
    assert plan.tests(JOINT) == ["snippets", "other"]
    assert plan.test_jobs == [(SINGLE, "snippets"), (JOINT, "snippets"), (JOINT, "other")]


def test_in_context_learning_is_on_single_data_sets_only(write_study: WriteStudy) -> None:
    plan = Plan(resolve(write_study(STUDY)))
    assert [job.id for job in plan.icl_jobs] == ["tiny-decoder/snippets/1-shot-seed-5"]


def test_a_frozen_study_knows_the_parts(write_study: WriteStudy, tmp_path: Path) -> None:
    resolved = resolve(write_study(STUDY), datasets=["both"])
    assert list(resolved.datasets) == ["both", "snippets", "other"]
    path = tmp_path / "study.yaml"
    path.write_text(resolved.dump(), encoding="utf-8")
    assert ResolvedStudy.load(path) == resolved
    assert Plan(resolved).cells == [JOINT] and Plan(resolved).icl_jobs == []


def test_files_of_a_test_name_the_test_set_of_joint_cells_only() -> None:
    run = Run(Path("run"))
    folder = "run/cells/tiny-decoder"
    assert str(run.test_file(SINGLE)) == str(run.test_file(SINGLE, "snippets")) == f"{folder}/snippets/lora/test.json"
    assert str(run.test_file(JOINT, "other")) == f"{folder}/both/lora/test-other.json"
    assert str(run.predictions_file(SINGLE)) == f"{folder}/snippets/lora/predictions.jsonl"
    assert str(run.predictions_file(JOINT, "other")) == f"{folder}/both/lora/predictions-other.jsonl"


def test_parts_must_be_known_and_single(write_study: WriteStudy) -> None:
    wrong = STUDY.replace("join: [snippets, other]", "join: [twice, nowhere]")
    with pytest.raises(UserError) as caught:
        resolve(write_study(wrong + "    twice: {title: Twice, join: [snippets, other]}\n"))
    assert str(caught.value).splitlines()[1:] == [
        "  datasets: 'both' joins 'twice', which is joint itself",
        "  datasets: 'both' joins 'nowhere', which is unknown",
    ]


def test_what_belongs_to_the_parts_is_refused(write_study: WriteStudy) -> None:
    wrong = STUDY.replace("max_code_tokens: 128", "columns: {intent: a, code: b}").replace("other]", "snippets]")
    with pytest.raises(UserError) as caught:
        resolve(write_study(wrong))
    assert str(caught.value).splitlines()[1:] == [
        "  catalogue.datasets.both.columns: belongs to the data sets that are joined",
        "  catalogue.datasets.both.join: 'snippets' stands twice",
    ]
