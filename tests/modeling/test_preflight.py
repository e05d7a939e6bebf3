"""What would make trials fail is found before anything is trained."""

import json
import sys
from pathlib import Path

import pytest
import transformers

from raypeft.errors import UserError
from raypeft.modeling.adapters import adapter_config
from raypeft.modeling.loading import load_base
from raypeft.modeling.preflight import study_problems
from raypeft.spec.loading import shipped
from raypeft.spec.resolve import ResolvedStudy, resolve
from raypeft.spec.technique import load_technique
from raypeft.sweep.sweep import needs_no_preflight

UNQUANTISED = "[full, lora, ia3, prompt_tuning, prefix_tuning, dora, rslora, adalora, vera, p_tuning]"
SHAPE = {"vocab_size": 1536, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}


@pytest.fixture
def unlisted(tmp_path: Path) -> Path:
    """A model of an architecture that peft has no defaults for, without a tokenizer."""
    folder = tmp_path / "unlisted"
    config = transformers.Starcoder2Config(**SHAPE, num_key_value_heads=2, intermediate_size=32, eos_token_id=1)
    transformers.Starcoder2ForCausalLM(config).save_pretrained(folder)
    return folder


def study(models: object, techniques: str, *settings: str) -> ResolvedStudy:
    return resolve("quickstart", settings=[f"models={models}", f"techniques={techniques}", *settings])


def test_shipped_models_and_techniques_have_no_problem() -> None:
    techniques = (
        "[full, lora, ia3, prompt_tuning, prefix_tuning, qlora_8bit, qlora_4bit, dora, adalora, vera, p_tuning]"
    )
    assert study_problems(study("[tiny-decoder, tiny-encoder-decoder, codegen2-1b]", techniques)) == []


@pytest.mark.parametrize(
    ("models", "techniques", "setting", "expected"),
    [
        ("[tiny-decoder, tiny-encoder-decoder]", UNQUANTISED, "search.trials=2", True),
        ("[tiny-decoder]", "[lora, qlora_4bit]", "search.trials=2", False),
        ("[tiny-decoder]", "[lora]", "protocol.prompt_style=chat", False),
        ("[codegen2-1b]", "[lora]", "search.trials=2", False),
        ("[own]", "[lora]", "catalogue.models.own={title: O, folder: 'embedded:models/tiny-decoder'}", False),
        ("[tiny-decoder]", "[lora]", "catalogue.models.tiny-decoder.targets={attention: [x]}", False),
    ],
)
def test_only_what_the_package_brings_goes_unchecked(
    models: str, techniques: str, setting: str, expected: bool
) -> None:
    resolved = study(models, techniques, setting)
    assert needs_no_preflight(resolved) is expected
    if expected:
        assert study_problems(resolved) == []


def test_a_technique_of_the_users_own_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = (shipped("search_spaces") / "lora.yaml").read_text()
    (tmp_path / "search_spaces").mkdir()
    for name, changed in (("lora", text.replace("lora_dropout", "lora_drop")), ("mine", text)):
        (tmp_path / "search_spaces" / f"{name}.yaml").write_text(changed)
        assert not needs_no_preflight(study("[tiny-decoder]", f"[{name}]"))


def test_models_without_a_chat_template_are_told_before_training() -> None:
    models = "[tiny-decoder, tiny-encoder-decoder]"
    assert [line.splitlines()[0] for line in study_problems(study(models, "[full]", "protocol.prompt_style=chat"))] == [
        f"models.{name}: is to be prompted by chat, but its tokenizer has no chat template"
        for name in ("tiny-decoder", "tiny-encoder-decoder")
    ]
    entry = "{title: O, folder: 'embedded:models/tiny-decoder', prompt_style: chat}"
    own = study("[own, tiny-encoder-decoder]", "[full]", f"catalogue.models.own={entry}")
    assert len(study_problems(own)) == 1
    assert (
        study_problems(study("[own]", "[full]", f"catalogue.models.own={entry}", "protocol.prompt_style=instruction"))
        == []
    )


def test_modules_that_nobody_knows_are_told_before_training(unlisted: Path) -> None:
    assert study_problems(study([str(unlisted)], "[lora, ia3, dora, prompt_tuning]")) == [
        f"models.unlisted.targets.{name}: is missing, and peft has no default for starcoder2 models: list modules"
        for name in ("attention", "feedforward")
    ]


def test_only_lists_that_a_technique_names_are_missed(unlisted: Path) -> None:
    assert study_problems(study([str(unlisted)], "[prompt_tuning, prefix_tuning, full]")) == []


def test_the_catalogue_of_the_study_can_list_them(unlisted: Path) -> None:
    own = f"{{title: U, folder: '{unlisted}', targets: {{attention: [q_proj]}}}}"
    assert study_problems(study("[mine]", "[lora, dora]", f"catalogue.models.mine={own}")) == []


def test_a_folder_without_a_model_is_told_before_training(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (problem,) = study_problems(study([str(tmp_path / "empty")], "[lora]"))
    assert problem.startswith(f"models.empty: cannot be loaded from {tmp_path / 'empty'}: ")


def test_a_model_that_the_hub_does_not_give_is_left_to_its_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert study_problems(study("[nobody/nothing]", "[lora]")) == []


def test_quantised_techniques_need_bitsandbytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    need = "quantised weights need the package bitsandbytes: pip install bitsandbytes"
    assert study_problems(study("[tiny-decoder]", "[lora, qlora_8bit, qlora_4bit]")) == [
        f"techniques.qlora_8bit.quantization: {need}",
        f"techniques.qlora_4bit.quantization: {need}",
    ]
    assert study_problems(study("[tiny-decoder]", "[lora, ia3]")) == []


def test_the_trial_itself_says_the_same(unlisted: Path, codegen_folder: Path) -> None:
    for file in ("tokenizer.json", "tokenizer_config.json"):
        (unlisted / file).write_bytes((codegen_folder / file).read_bytes())
    base = load_base("unlisted", study([str(unlisted)], "[lora]").models["unlisted"], "fp32")
    lora = load_technique("lora")
    with pytest.raises(UserError, match=r"models\.unlisted\.targets\.attention: is missing, and peft has no default"):
        adapter_config(base, lora, lora.paper)


def own(tmp_path: Path, name: str, arguments: str, kind: str = "LoraConfig") -> str:
    file = tmp_path / f"{name}.yaml"
    file.write_text(
        f"title: T\npeft: {kind}\narguments: {arguments}\n"
        "paper: {learning_rate: 1.0e-3}\nsearch: {learning_rate: {choice: [1.0e-3]}}\n"
    )
    return str(file)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("{target_modules: [q_proj, V_proj]}", "target_modules: the model has no V_proj; it has down_proj, "),
        (
            "{target_modules: '.*V_proj'}",
            "target_modules: the regular expression '.*V_proj' fits no module",
        ),
        ("{target_modules: [q_proj], modules_to_save: [head]}", "modules_to_save: the model has no head; it has "),
        ("{target_modules: [q_proj], rank_pattern: {v_proj: 2}}", None),
        ("{target_modules: [q_proj], rank_pattern: {V_proj: 2}}", "rank_pattern: V_proj fits no module of the model"),
        ("{target_modules: [q_proj], layers_to_transform: [0, 9]}", "layers_to_transform: the model has no layer 9"),
        ("{target_modules: [model.layers.0.self_attn.q_proj, lm_head]}", None),
        ("{target_modules: '.*q_proj'}", None),
        ("{target_modules: all-linear}", None),
        (
            "{target_modules: [input_layernorm]}",
            "peft.LoraConfig cannot be attached: Target module LlamaRMSNorm(",
        ),
        ("{target_modules: [q_proj], init_lora_weights: unheard}", "peft.LoraConfig cannot be attached: Unknown init"),
    ],
)
def test_modules_that_the_model_does_not_have(tmp_path: Path, arguments: str, expected: str | None) -> None:
    problems = study_problems(study("[tiny-decoder]", f"['{own(tmp_path, 'mine', arguments)}', lora]"))
    if expected is None:
        assert problems == []
    else:
        (problem,) = problems
        assert problem.startswith(f"techniques.mine on models.tiny-decoder: {expected}")


def edit(file: Path, **keys: object) -> None:
    content = json.loads(file.read_text()) | keys
    file.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


def told(folder: Path, *settings: str, techniques: str = "[lora]") -> list[str]:
    return study_problems(study([str(folder)], techniques, *settings))


def test_a_tokenizer_with_tokens_beyond_the_embeddings(tiny: Path) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny)
    tokenizer.add_tokens(["list that", "dictionary"])
    tokenizer.save_pretrained(tiny)
    (problem,) = told(tiny)
    assert problem.startswith(f"models.tiny: the tokenizer of {tiny} does not go with the model: 2 of its tokens lie ")
    assert "beyond the model's 1536 embeddings: 'list that' (1536), 'dictionary' (1537)" in problem


def test_special_tokens_that_no_text_has_may_lie_beyond(tiny: Path) -> None:
    """Code Llama's tokenizer adds the tokens of its infilling variants to models that have no embedding for them."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny)
    tokenizer.add_special_tokens({"additional_special_tokens": ["▁<PRE>", "▁<SUF>"]})
    tokenizer.save_pretrained(tiny)
    assert told(tiny) == []
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    tokenizer.save_pretrained(tiny)
    (problem,) = told(tiny)
    assert "1 of its tokens lie beyond the model's 1536 embeddings: '[PAD]' (1538)" in problem


def test_a_tokenizer_without_an_end(tiny: Path) -> None:
    edit(tiny / "tokenizer_config.json", eos_token=None, pad_token=None)
    (problem,) = told(tiny)
    assert "it has no end-of-sequence token, so that no code would end" in problem


def test_a_tokenizer_that_cannot_be_read(tiny: Path) -> None:
    (tiny / "tokenizer.json").write_text("{}")
    (problem,) = told(tiny)
    assert problem.startswith(f"models.tiny: cannot be loaded from {tiny}: ")


def test_fewer_positions_than_prompt_and_code(tiny: Path) -> None:
    limits = "catalogue.datasets.snippets={title: S, folder: 'embedded:snippets', max_prompt_tokens: 64}"
    edit(tiny / "config.json", max_position_embeddings=140)
    assert told(tiny, limits) == []
    assert told(tiny, limits, techniques="[lora, prompt_tuning]") == [
        "models.tiny: has 140 positions (max_position_embeddings in its config.json), too few for 64 tokens of prompt "
        "and 32 of code in datasets.snippets and 100 virtual tokens of techniques.prompt_tuning"
    ]
    edit(tiny / "config.json", max_position_embeddings=90)
    assert told(tiny, limits, techniques="[lora, prompt_tuning]") == [
        "models.tiny: has 90 positions (max_position_embeddings in its config.json), too few for 64 tokens of prompt "
        "and 32 of code in datasets.snippets"
    ]


TEMPLATES = ("{{ messages[0]['content'] | unheard }}", "{% for m in %}", "{{ raise_exception('no') }}")


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_chat_template_that_fails(tiny: Path, template: str) -> None:
    (tiny / "chat_template.jinja").write_text(template)
    (problem,) = told(tiny, "protocol.prompt_style=chat")
    assert problem.startswith(f"models.tiny ({tiny}/chat_template.jinja): its chat template fails: Template")
    assert told(tiny) == []
