"""From a study to cells, trials, rungs and jobs; every shipped study plans."""

from pathlib import Path

import pytest

from raypeft.errors import UserError
from raypeft.spec.loading import names
from raypeft.spec.plan import Cell, IclJob, Plan
from raypeft.spec.resolve import resolve
from tests.conftest import WriteStudy


def test_the_plan_of_the_quickstart() -> None:
    plan = Plan(resolve("quickstart"))
    assert [cell.id for cell in plan.cells] == [
        "tiny-decoder/snippets/full",
        "tiny-decoder/snippets/lora",
        "tiny-decoder/snippets/ia3",
        "tiny-decoder/snippets/prompt_tuning",
        "tiny-decoder/snippets/prefix_tuning",
        "tiny-encoder-decoder/snippets/full",
        "tiny-encoder-decoder/snippets/lora",
        "tiny-encoder-decoder/snippets/ia3",
        "tiny-encoder-decoder/snippets/prompt_tuning",
        "tiny-encoder-decoder/snippets/prefix_tuning",
    ]
    assert plan.trials == 30
    assert plan.reports == 15
    assert plan.rungs == [3, 9]
    assert len(plan.icl_jobs) == 32
    assert [job.id for job in plan.icl_jobs[:7]] == [
        "tiny-decoder/snippets/0-shot-seed-42",
        "tiny-decoder/snippets/1-shot-seed-42",
        "tiny-decoder/snippets/1-shot-seed-777",
        "tiny-decoder/snippets/1-shot-seed-5432",
        "tiny-decoder/snippets/1-shot-seed-55555",
        "tiny-decoder/snippets/1-shot-seed-97",
        "tiny-decoder/snippets/2-shot-seed-42",
    ]


def test_cells_of_a_model_stand_together_once(write_study: WriteStudy) -> None:
    plan = Plan(
        resolve(
            write_study("""\
            question: Which?
            models: {small: [tiny-decoder], large: [tiny-encoder-decoder, tiny-decoder]}
            datasets: [snippets, again]
            techniques: {small: [full, lora], large: [lora, ia3]}
            catalogue: {datasets: {again: {title: Again, folder: "embedded:snippets"}}}
            search: {trials: 3}
            """)
        )
    )
    decoder, encoder_decoder = "tiny-decoder", "tiny-encoder-decoder"
    assert plan.cells == [
        Cell(decoder, "snippets", "full"),
        Cell(decoder, "snippets", "lora"),
        Cell(decoder, "snippets", "ia3"),
        Cell(decoder, "again", "full"),
        Cell(decoder, "again", "lora"),
        Cell(decoder, "again", "ia3"),
        Cell(encoder_decoder, "snippets", "lora"),
        Cell(encoder_decoder, "snippets", "ia3"),
        Cell(encoder_decoder, "again", "lora"),
        Cell(encoder_decoder, "again", "ia3"),
    ]
    assert plan.trials == 30
    assert plan.icl_jobs == []


def test_names_of_cells_trials_and_jobs() -> None:
    cell = Cell("tiny-decoder", "snippets", "lora")
    assert Cell.parse(cell.id) == cell
    assert cell.trial_name(3) == "tiny-decoder·lora·snippets·003"
    assert IclJob("m", "d", 2, 97).id == "m/d/2-shot-seed-97"


def test_without_zero_examples_every_seed_draws() -> None:
    jobs = Plan(resolve("quickstart", models=["tiny-decoder"], settings=["icl.examples=[2]"])).icl_jobs
    assert [(job.examples, job.seed) for job in jobs] == [(2, 42), (2, 777), (2, 5432), (2, 55555), (2, 97)]


def test_icl_leaves_out_the_pairs_it_is_told_to(write_study: WriteStudy) -> None:
    name = write_study("""\
        question: Which?
        models: [tiny-decoder, tiny-encoder-decoder]
        datasets: [snippets, again]
        techniques: [lora]
        catalogue: {datasets: {again: {title: Again, folder: "embedded:snippets"}}}
        icl:
          examples: [1]
          seeds: [7, 8]
          skip: [{models: [tiny-decoder], datasets: [again], reason: too slow}]
        """)
    assert [job.id for job in Plan(resolve(name)).icl_jobs] == [
        "tiny-decoder/snippets/1-shot-seed-7",
        "tiny-decoder/snippets/1-shot-seed-8",
        "tiny-encoder-decoder/snippets/1-shot-seed-7",
        "tiny-encoder-decoder/snippets/1-shot-seed-8",
        "tiny-encoder-decoder/again/1-shot-seed-7",
        "tiny-encoder-decoder/again/1-shot-seed-8",
    ]
    assert Plan(resolve(name, models=["tiny-decoder"], datasets=["again"])).icl_jobs == []
    everywhere = Plan(resolve(name, settings=["icl.skip=[{models: [tiny-encoder-decoder], reason: no use}]"]))
    assert {(job.model, job.dataset) for job in everywhere.icl_jobs} == {
        ("tiny-decoder", "snippets"),
        ("tiny-decoder", "again"),
    }


def test_icl_cannot_leave_out_what_the_study_does_not_have() -> None:
    with pytest.raises(UserError) as caught:
        resolve("quickstart", settings=["icl.skip=[{models: [codegen2-1b], datasets: [snippets], reason: slow}]"])
    assert str(caught.value).splitlines()[1:] == ["  icl.skip.0.models: 'codegen2-1b' is not in the study"]


@pytest.mark.parametrize(
    ("epochs", "every", "grace", "factor", "rungs"),
    [
        (5, 0.2, 5, 3, [5, 15]),
        (5, 0.2, 1, 3, [1, 3, 9]),
        (5, 0.2, 1, 5, [1, 5]),
        (5, 0.2, 25, 2, []),
        (5, 0.2, 24, 2, [24]),
        (27, 1, 1, 3, [1, 3, 9]),
        (2, 0.4, 2, 2, [2, 4]),
        (64, 1, 2, 4, [2, 8, 32]),
        (243, 1, 1, 3, [1, 3, 9, 27, 81]),
        (1000, 1, 1, 10, [1, 10, 100]),
        (125, 1, 5, 5, [5, 25]),
        (7, 1, 7, 2, []),
    ],
)
def test_rungs_are_those_of_ray(epochs: float, every: float, grace: int, factor: int, rungs: list[int]) -> None:
    from ray.tune.schedulers import ASHAScheduler

    settings = [
        f"training.epochs={epochs}",
        f"training.evaluate_every={every}",
        f"early_stopping.grace={grace}",
        f"early_stopping.factor={factor}",
    ]
    plan = Plan(resolve("quickstart", settings=settings))
    asha = ASHAScheduler(
        time_attr="report",
        metric="loss",
        mode="min",
        max_t=plan.reports,
        grace_period=grace,
        reduction_factor=factor,
    )
    milestones = sorted(milestone for milestone, _ in asha._brackets[0]._rungs)
    assert plan.rungs == [milestone for milestone in milestones if milestone < plan.reports] == rungs


def test_without_early_stopping_there_is_no_rung() -> None:
    assert Plan(resolve("quickstart", settings=["early_stopping=null"])).rungs == []


def test_every_shipped_study_plans() -> None:
    shipped = Path(__file__).parents[2] / "studies"
    found = sorted(path.relative_to(shipped).with_suffix("").as_posix() for path in shipped.rglob("*.yaml"))
    assert found == names("studies") and len(found) >= 2
    for name in found:
        plan = Plan(resolve(name))
        assert plan.cells and plan.trials and (plan.rungs or plan.resolved.study.mode == "paper")


def test_folders_of_the_smollm2_study_come_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolved = resolve("examples/smollm2-conala")
    monkeypatch.setenv("SMOLLM2", str(tmp_path))
    monkeypatch.setenv("CONALA", str(tmp_path))
    assert resolved.models["smollm2-135m-instruct"].path("here") == tmp_path
    assert resolved.datasets["conala"].path("here") == tmp_path
    assert str(tmp_path) not in resolved.dump()
