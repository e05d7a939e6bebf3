"""`--scale tiny`: a study on the embedded models and data."""

import pytest

from raypeft.errors import UserError
from raypeft.spec.plan import Plan
from raypeft.spec.resolve import resolve
from tests.conftest import WriteStudy

GROUPS = """\
question: Which?
models: {small: [codet5p-220m, codegen-350m-mono], large: [codellama-7b, codegen2-1b, unsaid]}
datasets: [conala, codealpacapy, mine]
techniques: {small: [full, lora], large: [lora, ia3]}
catalogue:
  models: {unsaid: {title: U, hub: some/where}}
  datasets:
    mine: {title: M, folder: "${NOWHERE}"}
    conala: {title: C, folder: "${NOWHERE}"}
    codealpacapy: {title: A, folder: "${NOWHERE}"}
icl: {examples: [1], seeds: [5], skip: [{models: [codegen2-1b], reason: slow}]}
"""


def test_models_and_data_sets_are_replaced_and_what_falls_together_is_done_once(write_study: WriteStudy) -> None:
    resolved = resolve(write_study(GROUPS), scale="tiny")
    assert resolved.name == "own-tiny"
    assert resolved.study.models == {"small": ["tiny-encoder-decoder", "tiny-decoder"], "large": ["tiny-decoder"]}
    assert list(resolved.datasets) == ["snippets-collections", "snippets-texts", "snippets"]
    cells = [cell.id for cell in Plan(resolved).cells]
    assert cells == [
        f"{model}/{dataset}/{technique}"
        for model, techniques in (("tiny-encoder-decoder", ("full", "lora")), ("tiny-decoder", ("full", "lora", "ia3")))
        for dataset in ("snippets-collections", "snippets-texts", "snippets")
        for technique in techniques
    ]
    # what large models leave out is no reason for the model that stands in for a small one as well
    assert len(Plan(resolved).icl_jobs) == 2 * 3


def test_sizes_are_the_scales_unless_they_are_set(write_study: WriteStudy) -> None:
    study = resolve(write_study(GROUPS), scale="tiny").study
    assert (study.search.trials, study.training.epochs, study.training.batch, study.data.train) == (2, 2, 8, 120)
    study = resolve(write_study(GROUPS), scale="tiny", trials=3, settings=["data.train=60", "training.epochs=1"]).study
    assert (study.search.trials, study.training.epochs, study.data.train, study.data.test) == (3, 1, 60, 40)


def test_what_is_kept_is_named_as_the_study_names_it(write_study: WriteStudy) -> None:
    resolved = resolve(
        write_study(GROUPS), scale="tiny", models=["codellama-7b"], datasets=["codealpacapy"], techniques=["ia3"]
    )
    assert [cell.id for cell in Plan(resolved).cells] == ["tiny-decoder/snippets-texts/ia3"]


def test_what_a_study_switches_off_stays_off(write_study: WriteStudy) -> None:
    study = resolve(write_study(GROUPS + "early_stopping: null\n"), scale="tiny").study
    assert study.early_stopping is None


def test_a_tiny_study_stays_as_it_is() -> None:
    resolved = resolve("quickstart", scale="tiny", settings=["datasets=[snippets, snippets-texts]"])
    assert list(resolved.models) == ["tiny-decoder", "tiny-encoder-decoder"]
    assert list(resolved.datasets) == ["snippets", "snippets-texts"]


def test_mistakes_are_told_at_a_scale_too(write_study: WriteStudy) -> None:
    with pytest.raises(UserError) as caught:
        resolve(write_study(GROUPS + "training: 5\nvalidation: {select_by: taste}\n"), scale="tiny")
    lines = str(caught.value).splitlines()
    assert lines[0] == "studies/own.yaml, at scale tiny: "
    assert [line.split(":")[0] for line in lines[1:]] == ["  training", "  validation.select_by"]


def test_an_unknown_scale_lists_the_known_ones() -> None:
    with pytest.raises(UserError, match="there is no scale 'medium'\nKnown: tiny"):
        resolve("quickstart", scale="medium")
