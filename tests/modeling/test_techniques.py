"""A technique that peft does not understand is refused by name before anything is trained."""

from pathlib import Path

import pytest

from raypeft.modeling.preflight import technique_problems
from raypeft.spec.loading import names
from raypeft.spec.technique import Technique, load_technique


def test_every_shipped_technique_is_understood() -> None:
    assert len(names("search_spaces")) >= 5
    for name in names("search_spaces"):
        assert technique_problems(name, load_technique(name)) == []


def test_unknown_arguments_are_named_all_at_once(tmp_path: Path) -> None:
    file = tmp_path / "odd.yaml"
    file.write_text(
        "title: Odd\npeft: LoraConfig\narguments: {biass: none}\n"
        "paper: {rank: 4, learning_rate: 1.0e-3}\nsearch: {rank: {choice: [4]}, learning_rate: {choice: [1.0e-3]}}\n"
    )
    assert technique_problems("odd", load_technique(str(file))) == [
        "techniques.odd.arguments.biass: peft.LoraConfig has no such argument",
        "techniques.odd.search.rank: peft.LoraConfig has no such argument",
    ]


def test_an_unknown_class_is_named() -> None:
    technique = Technique.model_validate(
        {
            "title": "None",
            "peft": "LoraConfiguration",
            "paper": {"learning_rate": 1e-3},
            "search": {"learning_rate": {"choice": [1e-3]}},
        }
    )
    (problem,) = technique_problems("none", technique)
    assert "no configuration 'LoraConfiguration'" in problem and "LoraConfig" in problem


def technique(**changed: object) -> Technique:
    search: dict[str, object] = {"r": {"choice": [4]}, "learning_rate": {"choice": [1e-3]}}
    given = {"title": "T", "peft": "AdaLoraConfig", "paper": {"r": 4, "learning_rate": 1e-3}, "search": search}
    return Technique.model_validate(given | changed)


def test_a_value_that_peft_refuses_is_named() -> None:
    schedule = {"total_step": {"steps": 1.0}, "tinit": {"steps": 0.2}, "tfinal": {"steps": 0.3}}
    search = {"orth_reg_weight": {"choice": [0.5, -1.0]}, "learning_rate": {"choice": [1e-3]}}
    paper = {"orth_reg_weight": 0.5, "learning_rate": 1e-3}
    (problem,) = technique_problems("ada", technique(arguments=schedule, search=search, paper=paper))
    assert problem.startswith("techniques.ada.search.orth_reg_weight: peft.AdaLoraConfig refuses -1.0: ")


def test_a_point_that_peft_refuses_is_named_once() -> None:
    (problem,) = technique_problems("ada", technique())
    assert problem.startswith("techniques.ada: peft.AdaLoraConfig refuses the first point (paper): ")
    assert "total_step" in problem


def lora(**changed: object) -> Technique:
    search: dict[str, object] = {"learning_rate": {"choice": [1e-3]}}
    given = {"title": "T", "peft": "LoraConfig", "paper": {"learning_rate": 1e-3}, "search": search}
    return Technique.model_validate(given | changed)


@pytest.mark.parametrize(
    "kind",
    [
        "AdaptionPromptConfig",
        "CPTConfig",
        "CartridgeConfig",
        "MultitaskPromptTuningConfig",
        "PolyConfig",
        "ShadowConfig",
        "XLoraConfig",
    ],
)
def test_methods_that_cannot_be_used_are_refused_by_name(kind: str) -> None:
    (problem,) = technique_problems("odd", lora(peft=kind))
    assert problem.startswith(f"techniques.odd.peft: peft.{kind} cannot be studied: ")


@pytest.mark.parametrize("kind", ["PeftConfig", "PromptLearningConfig", "LoftQConfig"])
def test_a_class_that_is_no_method_is_refused(kind: str) -> None:
    (problem,) = technique_problems("odd", lora(peft=kind))
    assert f"peft has no configuration '{kind}'; it has AdaLoraConfig, " in problem


def test_what_a_study_knows_itself_is_explained_by_key() -> None:
    pasted = {"r": 8, "task_type": "CAUSAL_LM", "inference_mode": True, "peft_type": "LORA"}
    pasted |= {"base_model_name_or_path": "somewhere", "rank": 3}
    assert technique_problems("pasted", lora(arguments=pasted)) == [
        "techniques.pasted.arguments.task_type: leave it out: it follows from the model's architecture",
        "techniques.pasted.arguments.inference_mode: leave it out: adapters are trained, then tested",
        "techniques.pasted.arguments.peft_type: leave it out: the class under `peft` says it",
        "techniques.pasted.arguments.base_model_name_or_path: leave it out: it is the study's model",
        "techniques.pasted.arguments.rank: peft.LoraConfig has no such argument",
    ]


@pytest.mark.parametrize("initialisation", ["eva", "corda", "lora_ga"])
def test_initialisations_that_need_data_are_refused(initialisation: str) -> None:
    (problem,) = technique_problems("odd", lora(arguments={"init_lora_weights": initialisation}))
    assert problem.startswith(f"techniques.odd.arguments.init_lora_weights: {initialisation} needs ")
    search = {"learning_rate": {"choice": [1e-3]}, "init_lora_weights": {"choice": ["gaussian", initialisation]}}
    searched = lora(paper={"learning_rate": 1e-3, "init_lora_weights": "gaussian"}, search=search)
    (problem,) = technique_problems("odd", searched)
    assert problem.startswith(f"techniques.odd.search.init_lora_weights: {initialisation} needs ")


def test_counts_that_are_no_whole_numbers_are_named_by_key() -> None:
    """Of ranks the specification says so by itself."""
    rate, kind = {"learning_rate": {"choice": [1e-3]}}, {"peft": "FourierFTConfig"}
    point = {"n_frequency": 8.0, "learning_rate": 1e-3}
    drawn = lora(**kind, paper=point, search={**rate, "n_frequency": {"uniform": [4, 16]}})
    assert technique_problems("odd", drawn) == [
        "techniques.odd.paper.n_frequency: is 8.0, but peft.FourierFTConfig takes a whole number, for example 8",
        "techniques.odd.search.n_frequency: draws real numbers, but peft.FourierFTConfig takes whole ones: "
        "use integer or log_integer",
    ]
    chosen = lora(**kind, paper={**point, "n_frequency": 8}, search={**rate, "n_frequency": {"choice": [8, 12.5]}})
    assert technique_problems("odd", chosen) == [
        "techniques.odd.search.n_frequency: is 12.5, but peft.FourierFTConfig takes a whole number"
    ]
    for value in ("8", True, 8.5):
        (problem,) = technique_problems("odd", lora(**kind, arguments={"n_frequency": value}))
        assert problem == (
            f"techniques.odd.arguments.n_frequency: is {value!r}, but peft.FourierFTConfig takes a whole number"
        )
    assert technique_problems("odd", lora(arguments={"r": 8, "lora_alpha": 12.5})) == []
