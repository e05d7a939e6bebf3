"""A technique that peft does not understand is refused by name before anything is trained."""

from pathlib import Path

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
