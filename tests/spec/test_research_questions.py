"""The paper's four studies plan as counted by hand from its sections 4 and 5, at full size and tiny."""

from collections import Counter
from pathlib import Path

import pytest

from raypeft.spec.catalogue import shipped_catalogue
from raypeft.spec.loading import PACKAGE
from raypeft.spec.overrides import load_scale
from raypeft.spec.plan import Cell, Plan
from raypeft.spec.resolve import resolve

SMALL = ["codet5p-220m", "codet5p-770m", "codegen-350m-mono"]
CODEGEN2 = ["codegen2-1b", "codegen2-3.7b", "codegen2-7b"]
CODELLAMA = ["codellama-7b", "codellama-7b-instruct", "codellama-7b-python"]
PEFT = ["lora", "ia3", "prompt_tuning", "prefix_tuning"]

# cells, trials, tests, in-context-learning runs
SIZES = {
    # (3 small models x 5 techniques + 6 large x 4) x 2 data sets
    "rq1": (78, 624, 78, 0),
    # 9 models x LoRA x 2 data sets; (9 x 2 - 3 left out) x (1 + 3 x 5 seeds)
    "rq2": (18, 144, 18, 240),
    # 9 models x LoRA x 3 data sets, the joint one tested on both
    "rq3": (27, 216, 36, 0),
    # (3 + 2 + 1) x 2 data sets
    "rq4": (12, 96, 12, 0),
}
TINY = {
    # 2 models x 5 techniques x 2 data sets x 2 trials
    "rq1": (20, 40, 20, 0),
    "rq2": (4, 8, 4, 64),
    "rq3": (6, 12, 8, 0),
    # one decoder stands in for all three sizes
    "rq4": (6, 12, 6, 0),
}


def sizes(plan: Plan) -> tuple[int, int, int, int]:
    return len(plan.cells), plan.trials, len(plan.test_jobs), len(plan.icl_jobs)


@pytest.mark.parametrize("name", SIZES)
def test_cells_trials_and_jobs(name: str) -> None:
    assert sizes(Plan(resolve(name))) == SIZES[name]
    assert sizes(Plan(resolve(name, scale="tiny"))) == TINY[name]
    cells, _, tests, icl = SIZES[name]
    paper = Plan(resolve(name, settings=["mode=paper"]))
    assert (sizes(paper), paper.rungs) == ((cells, cells, tests, icl), [])


def test_rq1_has_every_cell_of_table_3() -> None:
    cells = Plan(resolve("rq1")).cells
    assert list(dict.fromkeys(cell.model for cell in cells)) == SMALL + CODEGEN2 + CODELLAMA
    techniques = {model: ["full", *PEFT] if model in SMALL else PEFT for model in SMALL + CODEGEN2 + CODELLAMA}
    assert cells == [
        Cell(model, dataset, technique)
        for model, wanted in techniques.items()
        for dataset in ("conala", "codealpacapy")
        for technique in wanted
    ]


def test_rq2_leaves_out_what_the_paper_does() -> None:
    plan = Plan(resolve("rq2"))
    pairs = {(job.model, job.dataset) for job in plan.icl_jobs}
    missing = {(cell.model, cell.dataset) for cell in plan.cells} - pairs
    assert missing == {(model, "codealpacapy") for model in CODEGEN2}
    one = [job for job in plan.icl_jobs if (job.model, job.dataset) == ("codellama-7b", "conala")]
    assert Counter(job.examples for job in one) == {0: 1, 1: 5, 2: 5, 3: 5}
    assert {job.seed for job in one} == {42, 777, 5432, 55555, 97}
    assert len(Plan(resolve("rq2", settings=["icl.skip=[]"])).icl_jobs) == 288


def test_rq3_tests_the_joint_adapter_on_each_set() -> None:
    plan = Plan(resolve("rq3", models=["codellama-7b"]))
    assert plan.test_jobs == [
        (Cell("codellama-7b", "conala", "lora"), "conala"),
        (Cell("codellama-7b", "codealpacapy", "lora"), "codealpacapy"),
        (Cell("codellama-7b", "joint", "lora"), "conala"),
        (Cell("codellama-7b", "joint", "lora"), "codealpacapy"),
    ]


def test_rq4_has_what_fits_the_papers_gpu() -> None:
    assert [(cell.model, cell.technique) for cell in Plan(resolve("rq4", datasets=["conala"])).cells] == [
        ("codellama-7b-python", "lora"),
        ("codellama-7b-python", "qlora_8bit"),
        ("codellama-7b-python", "qlora_4bit"),
        ("codellama-13b-python", "qlora_8bit"),
        ("codellama-13b-python", "qlora_4bit"),
        ("codellama-34b-python", "qlora_4bit"),
    ]


def test_the_example_on_real_data_without_a_gpu() -> None:
    plan = Plan(resolve("examples/smollm2-rq"))
    assert sizes(plan) == (6, 6, 8, 0)
    assert plan.reports == 3


def test_the_studies_share_what_decides_results() -> None:
    """So that the LoRA cells of rq1 serve the others."""
    studies = [resolve(name).study for name in SIZES]
    for key in ("mode", "search", "early_stopping", "training", "validation", "test", "data", "protocol"):
        assert all(getattr(study, key) == getattr(studies[0], key) for study in studies), key
    training, search = studies[0].training, studies[0].search
    assert (training.epochs, training.batch, training.optimizer, training.evaluate_every) == (5, 8, "adafactor", 0.2)
    assert (search.trials, studies[0].test.beams, studies[0].test.candidates) == (8, 10, 10)
    assert Plan(resolve("rq1")).rungs == [5, 15]


def test_flags_go_together() -> None:
    plan = Plan(
        resolve(
            "rq1",
            models=["codellama-7b", "codet5p-220m"],
            datasets=["conala"],
            techniques=["full", "lora"],
            trials=3,
            settings=["training.epochs=2", "icl.examples=[1]", "icl.seeds=[7]"],
        )
    )
    assert [cell.id for cell in plan.cells] == [
        "codet5p-220m/conala/full",
        "codet5p-220m/conala/lora",
        "codellama-7b/conala/lora",
    ]
    assert sizes(plan) == (3, 9, 3, 2)
    tiny = Plan(resolve("rq3", models=["codegen2-7b"], datasets=["joint"], trials=4, scale="tiny"))
    assert [cell.id for cell in tiny.cells] == ["tiny-decoder/snippets-joint/lora"]
    assert tiny.tests(tiny.cells[0]) == ["snippets-collections", "snippets-texts"]
    assert sizes(tiny) == (1, 4, 2, 0)


@pytest.mark.parametrize("path", sorted((PACKAGE / "catalogue").glob("scale_*.yaml")))
def test_what_stands_in_at_a_scale_is_in_the_catalogue(path: Path) -> None:
    scale, catalogue = load_scale(path.stem.removeprefix("scale_")), shipped_catalogue()
    assert {catalogue.models[name].architecture for name in scale.models.values()} == set(scale.models)
    assert {*scale.datasets.values(), scale.other_datasets} <= set(catalogue.datasets)
    assert set(scale.datasets) <= set(catalogue.datasets)
