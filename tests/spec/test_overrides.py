"""What the command line changes in a study."""

import pytest

from raypeft.errors import UserError
from raypeft.spec.resolve import resolve
from tests.conftest import WriteStudy

TECHNIQUES = ["full", "lora", "ia3", "prompt_tuning", "prefix_tuning"]
GROUPS = """\
question: Which?
models: {small: [tiny-decoder], large: [tiny-encoder-decoder]}
datasets: [snippets]
techniques: {small: [full, lora], large: [lora, ia3]}
early_stopping: null
"""


def test_settings_are_yaml_at_dotted_keys() -> None:
    study = resolve(
        "quickstart",
        settings=[
            "training.epochs=1.5",
            "training.micro_batch=4",
            "early_stopping.grace=2",
            "icl.examples=[0, 2]",
            "icl.seeds=[1]",
            "validation.em_items=all",
            "data.train=1e2",
            "question=a = b",
        ],
    ).study
    assert (study.training.epochs, study.training.micro_batch) == (1.5, 4)
    assert study.early_stopping is not None and study.early_stopping.grace == 2
    assert study.icl is not None and (study.icl.examples, study.icl.seeds) == ([0, 2], [1])
    assert study.validation.em_items == "all"
    assert study.data.train == 100
    assert study.question == "a = b"


def test_a_part_can_be_switched_off_and_on(write_study: WriteStudy) -> None:
    assert resolve("quickstart", settings=["icl=null", "early_stopping=null"]).study.icl is None
    stopping = resolve(write_study(GROUPS), settings=["early_stopping.grace=3"]).study.early_stopping
    assert stopping is not None and (stopping.grace, stopping.factor) == (3, 3)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("epochs", "--set: 'epochs' is not key=value\nFor example --set training.epochs=3"),
        ("=3", "--set: '=3' is not key=value\nFor example --set training.epochs=3"),
        ("a..b=3", "--set: 'a..b=3' is not key=value\nFor example --set training.epochs=3"),
        ("question.long=3", "--set question.long: 'question' holds no keys"),
        ("icl.seeds=[1", "--set icl.seeds: '[1' is not a YAML value: line 1, column 3: "),
    ],
)
def test_a_malformed_setting_is_refused(setting: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        resolve("quickstart", settings=[setting])
    assert str(caught.value).startswith(message)


def test_a_wrong_value_is_told_with_where_it_came_from() -> None:
    with pytest.raises(UserError) as caught:
        resolve("quickstart", settings=["training.batch=0", "trainig.epochs=1"])
    lines = str(caught.value).splitlines()
    assert lines[0].endswith("quickstart.yaml, with training.batch=0, with trainig.epochs=1: ")
    assert lines[1:] == ["  training.batch: should be greater than 0", "  trainig: unknown key"]


def test_samples_are_the_trials_of_a_cell() -> None:
    assert resolve("quickstart", trials=2).study.search.trials == 2


def test_models_data_sets_and_techniques_are_kept_in_the_studys_order() -> None:
    resolved = resolve("quickstart", models=["tiny-decoder"], datasets=["snippets"], techniques=["ia3", "full"])
    assert resolved.study.pairs() == [("tiny-decoder", "full"), ("tiny-decoder", "ia3")]
    assert list(resolved.models) == ["tiny-decoder"]
    assert list(resolved.techniques) == ["full", "ia3"]


@pytest.mark.parametrize(
    ("kept", "message"),
    [
        ({"models": ["gpt"]}, "--model: 'gpt' is not in the study\nIt has: tiny-decoder, tiny-encoder-decoder"),
        ({"datasets": ["conala"]}, "--dataset: 'conala' is not in the study\nIt has: snippets"),
        ({"techniques": ["qlora"]}, f"--technique: 'qlora' is not in the study\nIt has: {', '.join(TECHNIQUES)}"),
    ],
)
def test_only_what_the_study_has_can_be_kept(kept: dict[str, list[str]], message: str) -> None:
    with pytest.raises(UserError) as caught:
        resolve("quickstart", **kept)  # type: ignore[arg-type]
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("kept", "pairs"),
    [
        ({"models": ["tiny-decoder"]}, [("tiny-decoder", "full"), ("tiny-decoder", "lora")]),
        ({"techniques": ["ia3"]}, [("tiny-encoder-decoder", "ia3")]),
        ({"techniques": ["lora"]}, [("tiny-decoder", "lora"), ("tiny-encoder-decoder", "lora")]),
        ({"models": ["tiny-decoder"], "techniques": ["lora"]}, [("tiny-decoder", "lora")]),
    ],
)
def test_groups_left_empty_go_on_both_sides(
    write_study: WriteStudy, kept: dict[str, list[str]], pairs: list[tuple[str, str]]
) -> None:
    assert resolve(write_study(GROUPS), **kept).study.pairs() == pairs  # type: ignore[arg-type]


def test_an_invalid_study_is_refused_before_anything_is_kept(write_study: WriteStudy) -> None:
    name = write_study(GROUPS.replace("large: [lora, ia3]", "large: "))
    with pytest.raises(UserError, match=r"techniques\.large: should be a valid list"):
        resolve(name, techniques=["lora"])
