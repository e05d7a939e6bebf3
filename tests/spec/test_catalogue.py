"""The shipped catalogue, and models that a study names by hub id or folder."""

from pathlib import Path

import pytest

from raypeft.errors import UserError
from raypeft.spec.catalogue import ModelEntry, shipped_catalogue
from raypeft.spec.plan import Plan
from raypeft.spec.resolve import ResolvedStudy, resolve
from tests.conftest import WriteStudy

LLAMA = (["q_proj", "k_proj", "v_proj"], ["gate_proj", "up_proj", "down_proj"])
CODEGEN = (["qkv_proj"], ["fc_in", "fc_out"])
T5 = (["q", "k", "v"], ["wi", "wo"])
PAPER = {
    "codet5p-220m": ("Salesforce/codet5p-220m", "encoder_decoder", "small", None, T5),
    "codet5p-770m": ("Salesforce/codet5p-770m", "encoder_decoder", "small", None, T5),
    "codegen-350m-mono": ("Salesforce/codegen-350M-mono", "decoder", "small", None, CODEGEN),
    "codegen2-1b": ("Salesforce/codegen2-1B_P", "decoder", "large", 8, CODEGEN),
    "codegen2-3.7b": ("Salesforce/codegen2-3_7B_P", "decoder", "large", 8, CODEGEN),
    "codegen2-7b": ("Salesforce/codegen2-7B_P", "decoder", "large", 4, CODEGEN),
    "codellama-7b": ("codellama/CodeLlama-7b-hf", "decoder", "large", None, LLAMA),
    "codellama-7b-instruct": ("codellama/CodeLlama-7b-Instruct-hf", "decoder", "large", None, LLAMA),
    "codellama-7b-python": ("codellama/CodeLlama-7b-Python-hf", "decoder", "large", None, LLAMA),
    "codellama-13b-python": ("codellama/CodeLlama-13b-Python-hf", "decoder", "large", None, LLAMA),
    "codellama-34b-python": ("codellama/CodeLlama-34b-Python-hf", "decoder", "large", None, LLAMA),
}
STUDY = "question: Which?\nmodels: {models}\ndatasets: [snippets]\ntechniques: {techniques}\n"


def study(write_study: WriteStudy, models: str, techniques: str = "[lora]", more: str = "") -> ResolvedStudy:
    return resolve(write_study(STUDY.format(models=models, techniques=techniques) + more))


@pytest.mark.parametrize("name", list(PAPER))
def test_a_model_of_the_paper(name: str) -> None:
    entry = shipped_catalogue().models[name]
    found = (entry.hub, entry.architecture, entry.size, entry.qkv_layout)
    assert (*found, (entry.targets["attention"], entry.targets["feedforward"])) == PAPER[name]


def test_no_shipped_model_runs_code_of_its_own() -> None:
    models = shipped_catalogue().models
    assert len(models) == len(PAPER) + 10
    assert not any(entry.trust_remote_code for entry in models.values())
    assert all(entry.family and entry.parameters and set(entry.targets) == {"attention", "feedforward"}
               for entry in models.values())  # fmt: skip


@pytest.mark.parametrize(("parameters", "size"), [(999_999_999, "small"), (10**9, "large"), (None, None)])
def test_size_groups_part_at_a_billion(parameters: int | None, size: str | None) -> None:
    assert ModelEntry(title="M", folder="m", parameters=parameters).size == size


def test_a_hub_id_becomes_a_model_by_its_last_part(write_study: WriteStudy) -> None:
    resolved = study(write_study, "[someone/Their-Model_1.5, tiny-decoder]")
    entry = resolved.models["Their-Model_1.5"]
    assert (entry.hub, entry.title, entry.architecture) == ("someone/Their-Model_1.5", "someone/Their-Model_1.5", None)
    cell = Plan(resolved).cells[0]
    assert cell.id == "Their-Model_1.5/snippets/lora"
    assert cell.trial_name(0) == "Their-Model_1.5·lora·snippets·000"


def test_a_frozen_study_with_a_direct_model_reads_back(write_study: WriteStudy, tmp_path: Path) -> None:
    resolved = study(write_study, "[someone/theirs]")
    (tmp_path / "frozen.yaml").write_text(resolved.dump())
    assert ResolvedStudy.load(tmp_path / "frozen.yaml") == resolved


def test_folders_are_named_by_their_last_part(
    write_study: WriteStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine" / "best model").mkdir(parents=True)
    (tmp_path / "org" / "local").mkdir(parents=True)
    monkeypatch.setenv("HERE", str(tmp_path))
    models = study(write_study, "[./mine/best model, org/local, '${HERE}/mine']").models
    assert {name: entry.folder for name, entry in models.items()} == {
        "best-model": "./mine/best model",
        "local": "org/local",
        "mine": "${HERE}/mine",
    }
    assert models["mine"].path("here") == tmp_path / "mine"


def test_a_hub_id_of_the_catalogue_is_the_catalogues_model(write_study: WriteStudy) -> None:
    models = study(write_study, "[Salesforce/codegen2-1B_P]").models
    assert models == {"codegen2-1b": shipped_catalogue().models["codegen2-1b"]}


def test_direct_models_stand_in_groups_and_can_be_kept(write_study: WriteStudy) -> None:
    text = STUDY.format(
        models="{small: [a/one], large: [b/two, tiny-decoder]}", techniques="{small: [lora], large: [ia3]}"
    )
    name = write_study(text)
    assert resolve(name).study.pairs() == [("one", "lora"), ("two", "ia3"), ("tiny-decoder", "ia3")]
    for kept in ("b/two", "two"):
        assert resolve(name, models=[kept]).study.pairs() == [("two", "ia3")]


@pytest.mark.parametrize("models", ["[a/same, b/same]", "[a/tiny-decoder]"])
def test_a_short_name_that_is_taken_is_refused(write_study: WriteStudy, models: str) -> None:
    with pytest.raises(UserError, match="as another model is: give it an entry of its own name"):
        study(write_study, models)


def test_other_mistakes_beside_a_direct_model_are_told(write_study: WriteStudy) -> None:
    with pytest.raises(UserError) as caught:
        study(write_study, "[a/b, 3, nameless]", more="catalogue: {models: {x: {title: X}}}\ncolour: red\n")
    message = str(caught.value)
    assert "colour: unknown key" in message and "unknown 'nameless'" in message
    assert "catalogue.models.x: needs exactly one of hub and folder" in message
    assert "'a/b'" not in message


def test_an_unset_variable_is_told(write_study: WriteStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOWHERE", raising=False)
    with pytest.raises(UserError, match="environment variable NOWHERE is not set"):
        study(write_study, "['${NOWHERE}']")
