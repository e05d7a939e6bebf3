"""The estimate of memory: hand-counted terms, monotonicity, what fits, and what the plan says."""

from dataclasses import replace

import pytest

from raypeft.estimate.footprint import Footprint, adapter_of, footprint, shape_of
from raypeft.estimate.memory import GIB, MIB, Configuration, Workload, estimate
from raypeft.spec.catalogue import shipped_catalogue
from raypeft.spec.plan import Plan
from raypeft.spec.resolve import resolve
from raypeft.spec.sections import Training
from raypeft.spec.shape import Shape

PAPER = Workload(micro=8, batch=8, decode=16, beams=10, prompt=64, code=64)
TARGETS = {"attention": ["q_proj", "k_proj", "v_proj"], "feedforward": ["gate_proj", "up_proj", "down_proj"]}


def code_llama(quantization: str | None = None, kind: str | None = "LoraConfig", **training: object) -> Configuration:
    entry = shipped_catalogue().models["codellama-7b-python"]
    assert entry.shape is not None and entry.parameters is not None
    adapter = adapter_of(entry.shape, kind, {"r": 16, "lora_dropout": 0.05, "target_modules": ["attention"]}, TARGETS)
    return Configuration(entry.shape, entry.parameters, adapter, quantization, Training(**training), "gpu")  # type: ignore


@pytest.mark.parametrize("name", [name for name, entry in shipped_catalogue().models.items() if entry.shape])
def test_a_shape_has_the_models_weights(name: str) -> None:
    """What is left are norms and biases: less than a thousandth."""
    entry = shipped_catalogue().models[name]
    assert entry.shape is not None and entry.parameters is not None
    assert 0.999 < entry.shape.weights / entry.parameters <= 1


def test_every_model_of_the_catalogue_has_a_shape() -> None:
    assert [name for name, entry in shipped_catalogue().models.items() if shape_of(entry) is None] == []


def test_terms_of_code_llama_by_hand() -> None:
    found = estimate(code_llama(), PAPER)
    assert found.training["weights"] == 6_738_415_616 * 2
    # 32 layers x 3 modules x rank 16 x (4096 + 4096)
    assert found.training["trained weights"] == 4 * 32 * 3 * 16 * 8192
    # 8 sequences of 128 tokens x 32,000 words, three times in fp32
    assert found.training["logits"] == 8 * 128 * 32_000 * 12
    # 160 beams of 128 tokens, keys and values of 32 layers x 4096 in half precision
    assert found.decoding["cache"] == 160 * 128 * 2 * 32 * 4096 * 2
    assert found.largest == "weights"


def test_quantised_weights() -> None:
    linear = 32 * (4 * 4096**2 + 3 * 4096 * 11008)
    rest = 6_738_415_616 - linear
    four = estimate(code_llama("4bit"), PAPER).training["weights"]
    assert four == pytest.approx(linear * 0.516 + rest * 2, rel=1e-3)
    assert estimate(code_llama("8bit"), PAPER).training["weights"] == linear + rest * 2
    wide = estimate(code_llama("8bit", quantized_rest="fp32"), PAPER)
    assert wide.training["weights"] == linear + rest * 4
    # 160 beams of 128 tokens, keys and values of 32 layers x 4096
    assert estimate(code_llama("8bit"), PAPER).decoding["cache"] == 160 * 128 * 2 * 32 * 4096 * 2
    assert wide.decoding["cache"] == 160 * 128 * 2 * 32 * 4096 * 4


# GiB in training and in decoding of rq4's cells at the paper's point, batches of 8 and 16 x 10 beams
RQ4 = {
    "codellama-7b-python/conala/lora": (18.6, 23.2),
    "codellama-7b-python/conala/qlora_8bit": (14.0, 17.1),
    "codellama-7b-python/conala/qlora_4bit": (9.7, 14.2),
    "codellama-7b-python/codealpacapy/lora": (21.4, 28.2),
    "codellama-7b-python/codealpacapy/qlora_8bit": (17.5, 22.1),
    "codellama-7b-python/codealpacapy/qlora_4bit": (12.5, 19.2),
    "codellama-13b-python/conala/qlora_8bit": (23.7, 28.7),
    "codellama-13b-python/conala/qlora_4bit": (15.7, 23.0),
    "codellama-13b-python/codealpacapy/qlora_8bit": (29.0, 36.5),
    "codellama-13b-python/codealpacapy/qlora_4bit": (20.0, 30.9),
    "codellama-34b-python/conala/qlora_4bit": (33.4, 21.9),
    "codellama-34b-python/codealpacapy/qlora_4bit": (41.3, 24.1),
}


def rq4(*settings: str) -> dict[str, Footprint]:
    plan = Plan(resolve("rq4", settings=list(settings)))
    prints = {cell.id: footprint(plan, cell) for cell in plan.cells}
    return {name: found for name, found in prints.items() if found is not None}


def test_rq4_takes_what_the_paper_says() -> None:
    found = rq4("mode=paper")
    in_gib = {
        name: tuple(round(sum(phase.values()) / GIB, 1) for phase in (one.estimate.training, one.estimate.decoding))
        for name, one in found.items()
    }
    assert in_gib == RQ4


@pytest.mark.parametrize(
    ("mode", "largest"),
    [
        ("search", "micro-batch 1, checkpointing, decode batch 4"),
        ("paper", "micro-batch 1, decode batch 8"),
    ],
)
def test_rq4_fits_the_papers_card(mode: str, largest: str) -> None:
    found = rq4(f"mode={mode}")
    assert found.keys() == RQ4.keys()
    assert [name for name, one in found.items() if one.fits == "no"] == []
    assert found["codellama-34b-python/codealpacapy/qlora_4bit"].fits == largest
    assert "checkpointing" not in str(found["codellama-13b-python/codealpacapy/qlora_8bit"].fits)


def test_prefix_tuning_has_no_rung_of_checkpointing() -> None:
    """Its keys and values would be dropped, so that what is too much at one item is too much."""
    long = ("catalogue.datasets.snippets.max_code_tokens=1024", "test.beams=2", "test.candidates=2")
    fits = {
        technique: found(
            plan_with(f"techniques=[{technique}]", "resources.gpu_memory_gb=18", "mode=paper", *long),
            "codellama-7b-python",
            technique,
        ).fits
        for technique in ("lora", "prefix_tuning")
    }
    assert fits["prefix_tuning"] == "no" and "checkpointing" in str(fits["lora"])


def test_one_quantised_weight_at_a_time_is_unpacked() -> None:
    """Code Llama's largest is 11008 x 4096, in half precision 86 MiB: more than the logits and scores of one item."""
    one = replace(PAPER, micro=1, decode=1)
    four, eight, none = (estimate(code_llama(kind), one) for kind in ("4bit", "8bit", None))
    assert four.training["logits"] == eight.training["logits"] == four.decoding["scores"] == 11008 * 4096 * 2
    assert none.training["logits"] == 128 * 32_000 * 12
    assert none.decoding["scores"] == eight.decoding["scores"] == 10 * 32_000 * 16
    assert estimate(code_llama("4bit"), PAPER).training["logits"] == 8 * 128 * 32_000 * 12


def test_full_fine_tuning_keeps_the_base_a_copy_and_gradients() -> None:
    found = estimate(code_llama(kind=None), PAPER)
    weights = 6_738_415_616
    assert (found.training["weights"], found.training["trained weights"]) == (2 * weights, 4 * weights)
    assert found.training["gradients"] == 4 * weights
    # Adafactor's rows and columns are nothing beside AdamW's two numbers a weight
    assert found.decoding["optimiser"] < 0.01 * weights
    assert estimate(code_llama(kind=None, optimizer="adamw_torch"), PAPER).decoding["optimiser"] == 8 * weights


@pytest.mark.parametrize(
    ("change", "phase"),
    [({"micro": 4}, "training"), ({"decode": 8}, "decoding"), ({"code": 32}, "training"), ({"prompt": 32}, "decoding")],
)
def test_less_work_takes_less(change: dict[str, int], phase: str) -> None:
    whole, less = estimate(code_llama(), PAPER), estimate(code_llama(), replace(PAPER, **change))
    assert sum(getattr(less, phase).values()) < sum(getattr(whole, phase).values())


def test_gradient_checkpointing_takes_less_but_not_with_a_prefix() -> None:
    kept, again = estimate(code_llama(), PAPER), estimate(code_llama(gradient_checkpointing=True), PAPER)
    assert again.training["activations"] < 0.2 * kept.training["activations"]


def plan_with(*settings: str) -> Plan:
    return Plan(
        resolve(
            "quickstart",
            settings=["models=[codellama-7b-python, codet5p-220m]", "techniques=[lora, qlora_4bit]", *settings],
        )
    )


def found(plan: Plan, model: str, technique: str) -> Footprint:
    cell = next(cell for cell in plan.cells if (cell.model, cell.technique) == (model, technique))
    result = footprint(plan, cell)
    assert result is not None
    return result


@pytest.mark.parametrize("limit", [2, 6, 8, 12, 16, 20, 24, 40, 80])
def test_nothing_is_said_to_fit_that_does_not(limit: int) -> None:
    for mode in ("search", "paper"):
        plan = plan_with(f"resources.gpu_memory_gb={limit}", f"mode={mode}")
        for cell in plan.cells:
            result = footprint(plan, cell)
            assert result is not None and result.fits is not None
            asked = result.estimate.peak <= 0.9 * limit * GIB
            assert (result.fits == "yes") == asked
            weights = result.estimate.training["weights"]
            if weights > limit * GIB:
                assert result.fits == "no"


def test_smaller_batches_are_named_before_a_cell_is_given_up() -> None:
    fits = [
        found(plan_with(f"resources.gpu_memory_gb={gb}"), "codellama-7b-python", "lora").fits for gb in (12, 16, 18, 40)
    ]
    assert fits[0] == "no" and fits[-1] == "yes"
    assert fits[2] is not None and "micro-batch" in fits[2]


def test_a_search_is_estimated_at_its_largest_point() -> None:
    searched, paper = (found(plan_with(f"mode={mode}"), "codellama-7b-python", "lora") for mode in ("search", "paper"))
    # rank 64 on every linear layer against rank 16 on three
    assert paper.estimate.training["trained weights"] == 4 * 32 * 3 * 16 * 8192
    every = 64 * (4 * 8192 + 3 * (4096 + 11008)) * 32
    assert searched.estimate.training["trained weights"] == 4 * every


def test_without_a_shape_the_estimate_is_rough_and_without_anything_there_is_none() -> None:
    entries = (
        "catalogue.models={rough: {title: R, hub: a/rough, parameters: 7000000000}, unknown: {title: U, hub: a/u}}"
    )
    plan = plan_with(entries, "models=[rough, unknown]", "resources.gpu_memory_gb=24", "mode=paper")
    rough = found(plan, "rough", "lora")
    assert rough.rough and rough.estimate.training["weights"] == 14e9
    known = found(plan_with("resources.gpu_memory_gb=24", "mode=paper"), "codellama-7b-python", "lora")
    assert not known.rough and rough.estimate.peak == pytest.approx(known.estimate.peak, rel=0.3)
    assert footprint(plan, next(cell for cell in plan.cells if cell.model == "unknown")) is None


def test_the_shape_of_a_folder_is_its_configurations() -> None:
    models = shipped_catalogue().models
    decoder, encoder_decoder = shape_of(models["tiny-decoder"]), shape_of(models["tiny-encoder-decoder"])
    assert decoder == Shape(
        block="llama",
        layers=4,
        hidden=128,
        intermediate=384,
        heads=4,
        kv_heads=4,
        head_size=32,
        vocabulary=1536,
        tied=True,
    )
    assert encoder_decoder is not None and (encoder_decoder.encoder_layers, encoder_decoder.layers) == (3, 3)


def test_a_cpu_is_estimated_with_its_framework_in_full_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")  # no tool of NVIDIA's, and so no GPU
    cell = plan_with("mode=paper").cells[0]
    result = footprint(plan_with("mode=paper"), cell)
    assert result is not None and result.fits is None
    assert result.estimate.training["framework"] > 400 * MIB
    assert result.estimate.training["weights"] == 6_738_415_616 * 4
