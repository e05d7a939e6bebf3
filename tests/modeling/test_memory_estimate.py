"""Terms of the estimate of memory against what transformers, peft and bitsandbytes really hold."""

import dataclasses
import itertools
import weakref
from pathlib import Path
from typing import Any

import bitsandbytes
import pytest
import torch
import transformers
from transformers import CodeGenConfig, LlamaConfig, PretrainedConfig, Starcoder2Config, T5Config
from transformers.optimization import Adafactor

from raypeft.estimate.activations import Sizes, saved
from raypeft.estimate.footprint import adapter_of
from raypeft.estimate.memory import QUANTIZED, Configuration, Workload, estimate
from raypeft.modeling.adapters import adapted, parameter_counts
from raypeft.modeling.loading import load_base
from raypeft.spec.catalogue import ModelEntry
from raypeft.spec.plan import Plan
from raypeft.spec.sections import Training
from raypeft.spec.shape import Shape, shape_of_folder
from raypeft.spec.technique import load_technique
from tests.modeling.conftest import EVERY_TECHNIQUE, TOKENIZER_FILES, Bases

ROWS, PROMPT, CODE = 4, 28, 20
CONFIGS: dict[str, PretrainedConfig] = {
    "llama": LlamaConfig(
        vocab_size=1536,
        hidden_size=256,
        intermediate_size=704,
        num_hidden_layers=8,
        num_attention_heads=8,
        num_key_value_heads=2,
    ),
    "starcoder2": Starcoder2Config(
        vocab_size=1536,
        hidden_size=256,
        intermediate_size=1024,
        num_hidden_layers=8,
        num_attention_heads=8,
        num_key_value_heads=2,
    ),
    "codegen": CodeGenConfig(
        vocab_size=1536,
        n_embd=256,
        n_layer=8,
        n_head=8,
        rotary_dim=8,
        n_positions=256,
        n_ctx=256,
        bos_token_id=None,
        eos_token_id=1,
    ),
    "t5": T5Config(
        vocab_size=1536,
        d_model=256,
        d_ff=1024,
        num_layers=6,
        num_decoder_layers=6,
        num_heads=8,
        d_kv=32,
        decoder_start_token_id=0,
    ),
}
TARGETS = {
    "llama": {"attention": ["q_proj", "k_proj", "v_proj"], "feedforward": ["gate_proj", "up_proj", "down_proj"]},
    "starcoder2": {"attention": ["q_proj", "k_proj", "v_proj"], "feedforward": ["c_fc", "c_proj"]},
    "codegen": {"attention": ["qkv_proj"], "feedforward": ["fc_in", "fc_out"]},
    "t5": {"attention": ["q", "k", "v"], "feedforward": ["wi", "wo"]},
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Small models of every kind of layer, with the tiny decoder's tokenizer."""
    from raypeft.spec.loading import PACKAGE

    made = {}
    for name, config in CONFIGS.items():
        made[name] = tmp_path_factory.mktemp(name)
        kind = transformers.AutoModelForSeq2SeqLM if name == "t5" else transformers.AutoModelForCausalLM
        kind.from_config(config).save_pretrained(made[name])
        for file in TOKENIZER_FILES:
            (made[name] / file).write_bytes((PACKAGE / "embedded" / "models" / "tiny-decoder" / file).read_bytes())
    return made


@pytest.mark.parametrize("name", list(CONFIGS))
def test_the_linear_layers_of_a_shape_are_the_models(name: str, folders: dict[str, Path]) -> None:
    shape = shape_of_folder(folders[name])
    assert shape is not None
    with torch.device("meta"):
        kind = transformers.AutoModelForSeq2SeqLM if name == "t5" else transformers.AutoModelForCausalLM
        model = kind.from_config(CONFIGS[name])
    output = model.get_output_embeddings()
    real: dict[str, int] = {}
    for path, module in model.named_modules():
        if isinstance(module, torch.nn.Linear) and module is not output:
            last = path.rpartition(".")[2]
            real[last] = real.get(last, 0) + module.weight.numel()
    assert {matrix.name: matrix.weights for matrix in shape.matrices} == real
    tied = model.config.tie_word_embeddings
    assert shape.vocabulary_weights == model.get_input_embeddings().weight.numel() * (1 if tied else 2)


@pytest.mark.parametrize("technique", EVERY_TECHNIQUE)
@pytest.mark.parametrize("model", ["tiny-decoder", "tiny-encoder-decoder", "codegen"])
def test_trained_weights_are_pefts(model: str, technique: str, matrix: Plan, bases: Bases) -> None:
    """Within a fiftieth: norms of full fine-tuning and biases of P-tuning are left out."""
    spec, base = matrix.resolved.techniques[technique], bases(model, technique)
    shape = shape_of_folder(Path(base.source))
    assert shape is not None
    adapter = adapter_of(shape, spec.peft, spec.arguments | spec.paper, base.targets)
    parameters = shape.weights
    counted, _ = Configuration(shape, parameters, adapter, spec.quantization, Training(), "cpu").trained()
    with adapted(base, spec, spec.paper, seed=1, steps=30) as adapted_model:
        trainable, _ = parameter_counts(adapted_model)
    assert counted == pytest.approx(trainable, rel=0.02)


@pytest.mark.skipif(torch.cuda.is_available(), reason="counts what the CPU keeps; benchmarks/memory.py measures GPUs")
@pytest.mark.parametrize(
    ("technique", "half"),
    [
        *itertools.product(["full", "lora", "ia3", "prompt_tuning", "prefix_tuning", "dora", "vera"], [False, True]),
        *itertools.product(["qlora_8bit", "qlora_4bit"], [False, True]),
    ],
)
@pytest.mark.parametrize("name", list(CONFIGS))
def test_kept_activations_are_those_that_autograd_saves(
    name: str, technique: str, half: bool, folders: dict[str, Path]
) -> None:
    """On the CPU, where autocast keeps other copies than on a GPU. Of the first layer less is kept than is counted."""
    spec, shape = load_technique(technique), shape_of_folder(folders[name])
    assert shape is not None
    entry = ModelEntry(title=name, folder=str(folders[name]), targets=TARGETS[name])  # type: ignore[arg-type]
    base = load_base(name, entry, "bf16" if half else "fp32", quantization=spec.quantization)
    point = spec.paper | ({"target_modules": "attention"} if "target_modules" in spec.paper else {})
    if "prompt_tuning_init" in point:
        point |= {"prompt_tuning_init": "RANDOM"}
    with adapted(base, spec, point, seed=1, steps=30) as model:
        kept = saved_by_autograd(model, name, half, shape)
    adapter = adapter_of(shape, spec.peft, spec.arguments | point, base.targets)
    size = 2 if half else 4
    numbers = Sizes(False, half, size, size, name == "codegen", inputs=spec.quantization == "8bit")
    counted = saved(shape, numbers, adapter, ROWS, PROMPT, CODE)
    training = Training(precision="bf16" if half else "fp32")
    counted += Configuration(shape, 0, adapter, spec.quantization, training, "cpu").copies()
    assert -0.1 < counted / kept - 1 < 0.12


@dataclasses.dataclass(eq=False)
class Kept:
    """A tensor that autograd keeps as long as what follows from it can be differentiated."""

    tensor: torch.Tensor


def saved_by_autograd(model: Any, name: str, half: bool, shape: Shape) -> int:
    """Bytes of the tensors that one forward pass keeps to its end, without weights and what the loss keeps."""
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    seen: weakref.WeakSet[Kept] = weakref.WeakSet()

    def pack(tensor: torch.Tensor) -> Kept:
        kept = Kept(tensor)
        seen.add(kept)
        return kept

    long, code = (PROMPT, CODE) if name == "t5" else (PROMPT + CODE, PROMPT + CODE)
    mask = torch.ones(ROWS, long, dtype=torch.long)
    mask[0, -1] = 0
    model.train()
    with (
        torch.autograd.graph.saved_tensors_hooks(pack, lambda kept: kept.tensor),
        torch.autocast("cpu", dtype=torch.bfloat16, enabled=half),
    ):
        ids = torch.full((ROWS, long), 7)
        output = model(input_ids=ids, attention_mask=mask, labels=torch.full((ROWS, code), 7))
    tensors = [kept.tensor for kept in seen] + inputs_of_8bit_products(output.loss.grad_fn)
    storages = {
        tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes()
        for tensor in tensors
        if shape.vocabulary not in tensor.shape[1:]
    }
    return sum(size for address, size in storages.items() if address not in weights)


def inputs_of_8bit_products(node: Any) -> list[torch.Tensor]:
    """What bitsandbytes keeps beside autograd's saved tensors."""
    waiting, seen, found = [node], {node}, []
    while waiting:
        node = waiting.pop()
        if "8bit" in node.name():
            found.append(node.A)
        following = {after for after, _ in node.next_functions if after is not None} - seen
        seen |= following
        waiting += following
    return found


def test_adafactor_keeps_a_row_and_a_column(folders: dict[str, Path]) -> None:
    model = transformers.AutoModelForCausalLM.from_pretrained(folders["llama"])
    shape = shape_of_folder(folders["llama"])
    assert shape is not None
    optimizer = Adafactor(model.parameters(), lr=1e-3, relative_step=False, scale_parameter=False)
    model(input_ids=torch.full((1, 8), 7), labels=torch.full((1, 8), 7)).loss.backward()
    optimizer.step()
    tensors = [value for state in optimizer.state.values() for value in state.values() if torch.is_tensor(value)]
    parameters = shape.weights
    _, kept = Configuration(shape, parameters, adapter_of(shape, None, {}, {}), None, Training(), "cpu").trained()
    real = sum(tensor.numel() for tensor in tensors if tensor.dim())
    assert kept == pytest.approx(real, rel=0.15)
    assert kept < 0.05 * parameters


def test_bytes_of_quantised_weights() -> None:
    weights = 2048 * 4096
    for quantization, layer in (
        ("4bit", bitsandbytes.nn.Linear4bit(4096, 2048, bias=False, quant_type="nf4", compress_statistics=True)),
        ("8bit", bitsandbytes.nn.Linear8bitLt(4096, 2048, bias=False, has_fp16_weights=False)),
    ):
        layer.to("cpu")
        layer(torch.zeros(1, 4096))
        found = bytes_of(layer.weight)
        if quantization == "4bit":
            state = layer.weight.quant_state
            found += bytes_of(state.absmax) + bytes_of(state.state2.absmax)
        assert found / weights == pytest.approx(QUANTIZED[quantization], rel=1e-3)  # type: ignore[index]


def bytes_of(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def test_checkpointed_layers_make_copies_of_weights_one_at_a_time(folders: dict[str, Path]) -> None:
    """By hand, eight equal layers of 256 x 256 queries in half precision: one copy of each, or that of one layer."""
    shape = shape_of_folder(folders["llama"])
    assert shape is not None
    work = Workload(micro=1, batch=1, decode=1, beams=1, prompt=4, code=4)
    parts = {}
    for dropout in (0.0, 0.1):
        adapter = adapter_of(shape, "LoraConfig", {"use_dora": True, "r": 1, "lora_dropout": dropout}, {})
        adapter = dataclasses.replace(adapter, matrices=[m for m in shape.matrices if m.name == "q_proj"])
        for checkpointing in (False, True):
            training = Training(precision="bf16", gradient_checkpointing=checkpointing)
            found = estimate(Configuration(shape, 0, adapter, None, training, "cpu"), work).training
            parts[dropout, checkpointing] = found["activations"]
    mask = 8 * 8 * 256 * 4  # layers x tokens x inputs x bytes: what dropout itself keeps
    copies = 8 * 256 * 256 * 2
    assert parts[0.1, False] - parts[0.0, False] == mask + copies
    assert parts[0.1, True] - parts[0.0, True] == (mask + copies) / 8
