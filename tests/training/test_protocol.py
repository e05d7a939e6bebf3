"""What a study's protocol changes in training and evaluation, on the embedded models."""

from pathlib import Path

import pytest

from raypeft.evaluation.decoding_job import run_job
from raypeft.evaluation.jobs import Job
from raypeft.modeling.adapters import adapted
from raypeft.modeling.loading import load_base
from raypeft.output.files import read_lines, write_text
from raypeft.runs.folder import Run
from raypeft.spec.loading import PACKAGE
from raypeft.spec.plan import IclJob, Plan
from raypeft.spec.resolve import resolve
from raypeft.training.data import trial_data
from raypeft.training.trial import train
from raypeft.training.validation import validation_loss
from tests.conftest import MODELS, SMALL
from tests.said import Said

TEMPLATE = (
    "{% for m in messages %}{{ {'user': 'user', 'assistant': 'bot'}[m['role']] }}: {{ m['content'] }}"
    "{{ '<END>' if m['role'] == 'assistant' }}\n{% endfor %}{% if add_generation_prompt %}bot: {% endif %}"
)


def plan_of(*settings: str) -> Plan:
    return Plan(resolve("quickstart", settings=[*SMALL, "test.beams=2", "test.candidates=2", *settings]))


@pytest.mark.parametrize("technique", ["lora", "prompt_tuning", "prefix_tuning"])
@pytest.mark.parametrize("model", MODELS)
def test_full_padding_does_not_change_the_loss(model: str, technique: str) -> None:
    dynamic, full = plan_of(), plan_of("protocol.padding=full")
    base = load_base(model, dynamic.resolved.models[model], "fp32")
    spec = dynamic.resolved.techniques[technique]
    short, long = (trial_data(plan, base, "snippets") for plan in (dynamic, full))
    widths = [data.collator([data.collator.features(data.train[0])])["input_ids"].shape[1] for data in (short, long)]
    entry = dynamic.resolved.datasets["snippets"]
    limits = entry.max_prompt_tokens, entry.max_prompt_tokens + entry.max_code_tokens
    assert widths[0] < widths[1] == limits[base.architecture == "decoder"]
    with adapted(base, spec, spec.paper, seed=1) as adapter:
        losses = [validation_loss(adapter, data.collator, data.validation, bf16=False) for data in (short, long)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-6)


@pytest.fixture
def chatting(tmp_path: Path) -> str:
    """The tiny decoder with a chat template whose turns end with a token that is not its end of sequence."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = tmp_path / "model"
    source = PACKAGE / "embedded" / "models" / "tiny-decoder"
    tokenizer, model = AutoTokenizer.from_pretrained(source), AutoModelForCausalLM.from_pretrained(source)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<END>"]})
    model.resize_token_embeddings(len(tokenizer))
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)
    return f"{{title: Chat, folder: '{folder}', prompt_style: chat}}"


def test_a_model_that_is_prompted_by_chat_is_trained_and_tested_so(chatting: str, tmp_path: Path) -> None:
    settings = [f"catalogue.models.chat={chatting}", "models=[chat]", "techniques=[full]", "early_stopping=null"]
    plan = plan_of(*settings, "training={epochs: 4, evaluate_every: 4}", "data={train: 40, validation: 12, test: 4}")
    base = load_base("chat", plan.resolved.models["chat"], "fp32")
    data = trial_data(plan, base, "snippets")
    (end,) = base.tokenizer.encode("<END>", add_special_tokens=False)
    assert {item.target[-1] for item in data.train} == {end} != {base.tokenizer.eos_token_id}
    reports = Said()
    train(plan, base, data, plan.resolved.techniques["full"], {"learning_rate": 1e-3}, tmp_path / "trial", reports.hear)
    assert reports[-1]["validation_loss"] < 0.6 * reports[0]["validation_loss"]

    run = Run(tmp_path / "run")
    write_text(run.study_file, plan.resolved.dump())
    job = IclJob("chat", "snippets", 1, 42)
    run_job(run, Job("icl", job))
    for row in read_lines(run.icl_file(job).with_suffix(".jsonl")):
        example, asked, opened = row["prompt"].partition("<END>")[0], *row["prompt"].split("\n")[-2:]
        assert example.startswith("user: Generate Python code: ") and "\nbot: " in example
        assert (asked, opened) == (f"user: Generate Python code: {row['intent']}", "bot: ")
