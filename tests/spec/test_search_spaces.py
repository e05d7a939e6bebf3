"""Techniques: dimensions, the paper's point, and the shipped files against the published protocol."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from raypeft.errors import UserError
from raypeft.spec.loading import names, shipped
from raypeft.spec.resolve import resolve
from raypeft.spec.technique import Dimension, Technique, load_technique

# The points of the paper's section 4.5, as the study protocol lists them.
LORA = {"target_modules": "attention", "r": 16, "lora_alpha": 32, "lora_dropout": 0.05, "learning_rate": 0.0003}
PAPER = {
    "full": {"learning_rate": 0.00005},
    "lora": LORA,
    "ia3": {"learning_rate": 0.0003},
    "prompt_tuning": {"prompt_tuning_init": "TEXT", "num_virtual_tokens": 20, "learning_rate": 0.003},
    "prefix_tuning": {"num_virtual_tokens": 20, "learning_rate": 0.03},
    "qlora_8bit": LORA,
    "qlora_4bit": LORA,
}
FURTHER = {"adalora", "dora", "p_tuning", "rslora", "vera"}
FIXED = {
    "full": (None, {}),
    "lora": ("LoraConfig", {"bias": "none"}),
    "ia3": ("IA3Config", {"target_modules": ["attention", "feedforward"], "feedforward_modules": ["feedforward"]}),
    "prompt_tuning": (
        "PromptTuningConfig",
        {"prompt_tuning_init_text": "Generate Python code given a natural language instruction."},
    ),
    "prefix_tuning": ("PrefixTuningConfig", {"prefix_projection": False}),
    "qlora_8bit": ("LoraConfig", {"bias": "none"}),
    "qlora_4bit": ("LoraConfig", {"bias": "none"}),
}
PACKAGE = {"ia3": {"learning_rate": 0.003}, "prefix_tuning": {"num_virtual_tokens": 10, "learning_rate": 0.03}}
QUANTIZATION = {"qlora_8bit": "8bit", "qlora_4bit": "4bit"}


def test_the_table_of_this_test_is_complete() -> None:
    assert sorted(PAPER) == sorted(FIXED)
    assert set(names("search_spaces")) == set(PAPER) | FURTHER


@pytest.mark.parametrize("name", sorted(PAPER))
def test_a_shipped_technique_is_the_papers(name: str) -> None:
    technique = load_technique(name)
    assert technique.paper == PAPER[name]
    assert {key: type(value) for key, value in technique.paper.items()} == {
        key: type(value) for key, value in PAPER[name].items()
    }
    assert list(technique.search) == list(PAPER[name])
    assert technique.point("paper") == PAPER[name]
    assert technique.point("package") == PACKAGE.get(name, PAPER[name])
    assert (technique.peft, technique.arguments) == FIXED[name]
    assert technique.kind == ("full" if name == "full" else "adapter")
    assert technique.quantization == QUANTIZATION.get(name)


@pytest.mark.parametrize("name", sorted(QUANTIZATION))
def test_qlora_searches_what_lora_does(name: str) -> None:
    assert load_technique(name).search == load_technique("lora").search


@pytest.mark.parametrize("name", sorted(set(PAPER) - {"full"} | FURTHER))
def test_a_shipped_technique_uses_fields_of_its_peft_class(name: str) -> None:
    import dataclasses

    import peft

    technique = load_technique(name)
    fields = {field.name for field in dataclasses.fields(getattr(peft, str(technique.peft)))}
    assert {*technique.arguments, *technique.search} - {"learning_rate"} <= fields


@pytest.mark.parametrize(
    ("dimension", "inside", "outside"),
    [
        ({"choice": [4, 8]}, [4, 8], [6, 4.0, "4", True, None]),
        ({"choice": [True, "all", 0.5]}, [True, "all", 0.5], [1, False, "ALL", 0]),
        ({"uniform": [0, 0.1]}, [0, 0.0, 0.05, 0.1], [-0.001, 0.11, "0.05", True, None]),
        ({"log_uniform": [1e-5, 1e-3]}, [1e-5, 3e-4, 1e-3], [9e-6, 2e-3]),
        ({"integer": [2, 5]}, [2, 3, 5], [1, 6, 3.0, True]),
        ({"log_integer": [1, 64]}, [1, 8, 64], [0, 65, 8.0]),
    ],
)
def test_a_dimension_holds_what_can_be_drawn_from_it(
    dimension: Mapping[str, Any], inside: list[Any], outside: list[Any]
) -> None:
    space = Dimension.model_validate(dimension)
    assert [value for value in inside if not space.contains(value)] == []
    assert [value for value in outside if space.contains(value)] == []
    assert space.kind == next(iter(dimension))


def test_bounds_are_those_given_and_a_choice_has_none() -> None:
    assert Dimension(uniform=(0, 0.1)).bounds == (0, 0.1)
    assert Dimension(log_integer=(1, 64)).bounds == (1, 64)
    with pytest.raises(ValueError, match="a choice has no bounds"):
        _ = Dimension(choice=[1]).bounds


def test_a_dimension_reads_well() -> None:
    assert str(Dimension(choice=[4, 8])) == "4 | 8"
    assert str(Dimension(uniform=(0, 0.1))) == "0 … 0.1"
    assert str(Dimension(log_uniform=(3e-5, 3e-3))) == "3e-05 … 0.003 (log)"
    assert str(Dimension(choice=[1, 2], times="r")) == "(1 | 2) × r"


TIED = """
title: Own
peft: LoraConfig
paper: {r: 16, lora_alpha: 32, learning_rate: 1e-4}
package: {r: 4, lora_alpha: 2}
search:
  r: {choice: [4, 16, 64]}
  lora_alpha: {choice: [0.5, 1, 2], times: r}
  learning_rate: {log_uniform: [1e-5, 1e-3]}
"""


def test_a_multiple_of_another_hyperparameter(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text(TIED)
    technique = load_technique(str(file))
    assert list(technique.space) == ["r", "lora_alpha/r", "learning_rate"]
    paper, package = technique.point("paper"), technique.point("package")
    assert technique.to_drawn(paper) == {"r": 16, "lora_alpha/r": 2, "learning_rate": 1e-4}
    assert technique.to_drawn(package) == {"r": 4, "lora_alpha/r": 0.5, "learning_rate": 1e-4}
    drawn = {"learning_rate": 1e-3, "lora_alpha/r": 0.5, "r": 64}
    point = technique.from_drawn(drawn)
    assert point == {"r": 64, "lora_alpha": 32, "learning_rate": 1e-3}
    assert type(point["lora_alpha"]) is int
    assert technique.to_drawn(point) == drawn


@pytest.mark.parametrize(
    ("old", "new", "problems"),
    [
        ("lora_alpha: 32", "lora_alpha: 48", ["paper.lora_alpha: is 48, outside its search space (0.5 | 1 | 2) × r"]),
        ("{r: 4,", "{r: 8,", ["package.r: is 8, outside", "package.lora_alpha: is 2, outside"]),
        ("{r: 4,", "{rank: 4,", ["package.lora_alpha: is 2, outside", "package.rank: is not searched"]),
        ("times: r", "times: rank", ["search.lora_alpha.times: is rank, but must be a searched number", "paper.lora"]),
        ("[4, 16, 64]", "[4, 16, all]", ["search.lora_alpha.times: is r, but must be a searched number"]),
    ],
)
def test_points_and_multiples_that_do_not_fit(tmp_path: Path, old: str, new: str, problems: list[str]) -> None:
    found = refused(tmp_path, TIED.replace(old, new))
    assert all(any(problem in line for line in found) for problem in problems), found


def refused(tmp_path: Path, text: str) -> list[str]:
    file = tmp_path / "own.yaml"
    file.write_text(text)
    with pytest.raises(UserError) as caught:
        load_technique(str(file))
    first, *rest = str(caught.value).splitlines()
    assert first.strip() == f"{file}:"
    return rest


def test_every_invalid_dimension_is_named(tmp_path: Path) -> None:
    text = """
title: Own
paper: {}
search:
  none: {}
  two: {choice: [1], uniform: [0, 1]}
  empty: {choice: []}
  falling: {uniform: [1, 0]}
  point: {integer: [3, 3]}
  zero: {log_uniform: [0, 1]}
  fraction: {integer: [0.5, 2]}
  endless: {uniform: [0, .inf]}
  odd: {normal: [0, 1]}
"""
    kinds = "choice, uniform, log_uniform, integer, log_integer"
    assert refused(tmp_path, text) == [
        f"  search.none: must be exactly one of {kinds}, but is []",
        f"  search.two: must be exactly one of {kinds}, but is ['choice', 'uniform']",
        "  search.empty.choice: List should have at least 1 item after validation, not 0",
        "  search.falling: uniform must go from a smaller to a larger number, but is [1.0, 0.0]",
        "  search.point: integer must go from a smaller to a larger number, but is [3, 3]",
        "  search.zero: log_uniform must start above zero, but starts at 0.0",
        "  search.fraction.integer.0: should be a valid integer, got a number with a fractional part",
        "  search.endless.uniform.1: should be a finite number",
        "  search.odd.normal: unknown key",
    ]


def test_paper_arguments_and_search_must_agree(tmp_path: Path) -> None:
    text = """
title: Own
peft: LoraConfig
arguments: {bias: none, r: 8}
paper: {r: 6, init: true, lora_alpha: "32"}
search: {r: {choice: [4, 8]}, dropout: {uniform: [0, 1]}, lora_alpha: {choice: [32]}}
"""
    assert refused(tmp_path, text) == [
        "  search.learning_rate: is missing: every technique has a learning rate",
        "  paper.r: is 6, outside its search space 4 | 8",
        "  paper.dropout: is missing: the paper's point has a value for all that is searched",
        "  paper.lora_alpha: is '32', outside its search space 32",
        "  paper.init: is not searched: a fixed value belongs under arguments",
        "  arguments.r: is searched as well",
    ]


def test_shares_of_the_training_are_shares(tmp_path: Path) -> None:
    text = """
title: Own
peft: AdaLoraConfig
arguments: {total_step: {steps: 1}, tinit: {steps: 0}, tfinal: {steps: 1.5}}
paper: {learning_rate: 1e-4}
search: {learning_rate: {log_uniform: [1e-5, 1e-3]}}
"""
    assert refused(tmp_path, text) == [
        "  arguments.tinit.steps: is 0.0, but must be a share above 0 and up to 1",
        "  arguments.tfinal.steps: is 1.5, but must be a share above 0 and up to 1",
    ]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("quantization: 4bit", "  quantization: needs an adapter: quantised weights cannot be trained"),
        ("quantization: 3bit\npeft: LoraConfig", "  quantization: should be '8bit' or '4bit'"),
    ],
)
def test_what_cannot_be_quantised_is_refused(tmp_path: Path, line: str, problem: str) -> None:
    text = f"title: Own\n{line}\npaper: {{learning_rate: 1e-4}}\nsearch: {{learning_rate: {{choice: [1e-4]}}}}\n"
    assert refused(tmp_path, text) == [problem]


def test_full_fine_tuning_has_no_arguments_of_peft(tmp_path: Path) -> None:
    text = """
title: Own
paper: {r: 4, learning_rate: 1e-4}
search: {r: {choice: [4]}, learning_rate: {log_uniform: [1e-5, 1e-3]}}
"""
    assert refused(tmp_path, text) == [
        "  peft: is missing: without an adapter the only hyperparameter is learning_rate"
    ]


@pytest.mark.parametrize(
    ("settings", "technique", "changed", "name"),
    [
        ((), "lora", {}, "the paper's point"),
        ((), "qlora_4bit", {}, "the paper's point"),
        ((), "lora", {"r": 8}, None),
        ((), "ia3", {"learning_rate": 3e-3}, "the replication package's point"),
        (("protocol.point=package",), "ia3", {}, "the replication package's point"),
        (("protocol.point=package",), "lora", {}, "the paper's point"),
        ((), "dora", {}, "the technique's first point"),
        ((), "dora", {"r": 8}, None),
    ],
)
def test_points_are_called_what_they_are(
    settings: tuple[str, ...], technique: str, changed: dict[str, Any], name: str | None
) -> None:
    resolved = resolve("quickstart", settings=[f"techniques=[{technique}]", *settings])
    assert resolved.point_name(technique, {**resolved.points[technique], **changed}) == name


def test_a_file_of_ones_own_has_not_the_papers_point(tmp_path: Path) -> None:
    text = (shipped("search_spaces") / "lora.yaml").read_text()
    for folder, own in (("other_point", text.replace("r: 16", "r: 8")), ("other", text.replace("none", "lora_only"))):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "lora.yaml").write_text(own)
        resolved = resolve("quickstart", settings=[f"techniques=['{tmp_path / folder / 'lora.yaml'}']"])
        assert resolved.point_name("lora", resolved.points["lora"]) == "the technique's first point"


@pytest.mark.parametrize("option", [0.1, 0.25, 0.3, 0.5, 0.7, 1, 1.0, 1.5, 2.0, 3])
def test_a_valid_point_is_not_refused_for_rounding_and_is_drawn_as_it_is(option: float) -> None:
    for rank in range(1, 130):
        alpha = float(f"{rank * option:.15g}")
        point = {"r": rank, "lora_alpha": int(alpha) if alpha.is_integer() else alpha, "learning_rate": 0.1}
        for drawn in ({"choice": [option]}, {"uniform": [0.01, option]}):
            technique = Technique.model_validate(
                {
                    "title": "Own",
                    "peft": "LoraConfig",
                    "paper": point,
                    "search": {
                        "r": {"integer": [1, 130]},
                        "lora_alpha": {**drawn, "times": "r"},
                        "learning_rate": {"choice": [0.1]},
                    },
                }
            )
            factor = technique.to_drawn(point)["lora_alpha/r"]
            assert factor == option and technique.from_drawn({**technique.to_drawn(point)}) == point
            assert "uniform" in drawn or type(factor) is type(option)  # what Optuna's distribution has


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("r: 16,", "r: 16.0,", "should be a whole number of at least 1, but is '16.0'"),
        ("r: {choice: [4, 16, 64]}", "r: {uniform: [4, 64]}", "search.r: should draw whole numbers of at least 1"),
        ("r: {choice: [4, 16, 64]}", "r: {choice: [4, 16, 64, 4]}", "search.r.choice: '4' stands twice"),
        ("r: {choice: [4, 16, 64]}", "r: {choice: [4, 16, true]}", "search.r: should draw whole numbers of at least 1"),
        ("r: {choice: [4, 16, 64]}", "r: {choice: [[4], 16]}", "search.r.choice.0: should be a valid"),
        (
            "r: {choice: [4, 16, 64]}",
            "r: {log_integer: [4, 1e30]}",
            "search.r.log_integer.1: should be a smaller number",
        ),
        ("[1e-5, 1e-3]", "[1e-320, 1e-3]", "search.learning_rate.log_uniform.0: should be a number of usual size"),
        ("[1e-5, 1e-3]", "[true, '1']", "search.learning_rate.log_uniform.0: should be a number, but is true"),
        ("{log_uniform: [1e-5, 1e-3]}", "{choice: [1e-4, fast]}", "search.learning_rate.choice: should have no texts"),
        ("{log_uniform: [1e-5, 1e-3]}", "{uniform: [-1, 1]}", "search.learning_rate: should be numbers from 0 on"),
        ("title: Own", "title: ' '", "title: should not be blank"),
        ("peft: LoraConfig", "peft: os.system", "peft: String should match pattern"),
        (
            "peft: LoraConfig",
            "peft: L\narguments: {target_modules: 3}",
            "arguments.target_modules: should be the name of",
        ),
        (
            "peft: LoraConfig",
            "peft: L\narguments: {target_modules: [a, [b]]}",
            "arguments.target_modules: should be the",
        ),
        (
            "peft: LoraConfig",
            "peft: L\narguments: {target_modules: null}",
            "arguments.target_modules: should be the name",
        ),
        ("peft: LoraConfig", "peft: L\narguments: {init_r: twelve}", "arguments.init_r: should be a whole number"),
        ("peft: LoraConfig", "peft: L\narguments: {x: .inf}", "arguments.x: should be a number of usual size"),
        ("peft: LoraConfig", "peft: L\narguments: {a/b: 1}", "arguments.a/b: String should match pattern"),
    ],
)
def test_values_of_no_technique_are_refused_by_key(tmp_path: Path, old: str, new: str, problem: str) -> None:
    assert old in TIED
    found = refused(tmp_path, TIED.replace(old, new))
    assert any(problem in line for line in found), found
