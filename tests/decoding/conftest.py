"""Tiny random-weight models of several architectures, with adapters that matter, and prompts of many lengths."""

from collections.abc import Callable

import peft
import pytest
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PreTrainedTokenizerFast

CORPUS = [
    "### Instruction:\nsort the list values in reverse order\n### Response:\nvalues.sort(reverse=True)\n",
    "### Instruction:\nsum of the squares of xs\n### Response:\nsum(x * x for x in xs)\n",
    "### Instruction:\ndefine add\n### Response:\ndef add(a, b):\n    return a + b\n",
]
SHAPE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
MODULES = {
    "llama": (["q_proj", "k_proj", "v_proj"], ["gate_proj", "up_proj", "down_proj"]),
    "codegen": (["qkv_proj"], ["fc_in", "fc_out"]),
    "t5": (["q", "k", "v"], ["wi", "wo"]),
}


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerBase:
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<pad>", "<eos>", "<fim>"]
    core.train_from_iterator(
        CORPUS, trainers.BpeTrainer(vocab_size=320, special_tokens=special, initial_alphabet=alphabet)
    )
    return PreTrainedTokenizerFast(tokenizer_object=core, pad_token="<pad>", eos_token="<eos>")


def _config(architecture: str, vocabulary: int) -> transformers.PretrainedConfig:
    shared = {"vocab_size": vocabulary, "bos_token_id": None, "eos_token_id": 1, "pad_token_id": 0}
    llama_like = {**SHAPE, **shared, "intermediate_size": 48, "initializer_range": 0.4}
    match architecture:
        case "llama":
            return transformers.LlamaConfig(**llama_like, num_key_value_heads=2)
        case "qwen2":
            return transformers.Qwen2Config(**llama_like, num_key_value_heads=2)
        case "starcoder2":
            return transformers.Starcoder2Config(**llama_like, num_key_value_heads=2)
        case "gpt_neox":
            return transformers.GPTNeoXConfig(**llama_like)
        case "codegen":
            return transformers.CodeGenConfig(
                **shared, n_embd=32, n_layer=2, n_head=4, rotary_dim=4, initializer_range=0.4
            )
        case "t5":
            return transformers.T5Config(
                **shared, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4, decoder_start_token_id=0
            )
    raise AssertionError(architecture)


@pytest.fixture(scope="session")
def build(tokenizer: PreTrainedTokenizerBase) -> Callable[[str, str], PreTrainedModel | peft.PeftModel]:
    """Function (architecture, technique) -> model, the same weights at each call."""

    def build(architecture: str, technique: str = "none") -> PreTrainedModel | peft.PeftModel:
        torch.manual_seed(7)
        config = _config(architecture, len(tokenizer))
        kind = transformers.AutoModelForSeq2SeqLM if architecture == "t5" else transformers.AutoModelForCausalLM
        model = kind.from_config(config).eval()
        _spread(model, tokenizer)
        return model if technique == "none" else adapted(model, architecture, technique)

    return build


def _spread(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Make predictions depend on the input and let candidates end at many lengths."""
    head = model.get_output_embeddings()
    # The head of T5 sees states scaled down by the square root of their width, here 32.
    head.weight = torch.nn.Parameter(torch.randn_like(head.weight) * (2 if model.config.is_encoder_decoder else 0.4))
    with torch.no_grad():
        head.weight[[tokenizer.eos_token_id, *tokenizer.encode("\n")]] *= 3


def adapted(model: PreTrainedModel, architecture: str, technique: str) -> peft.PeftModel:
    task = "SEQ_2_SEQ_LM" if model.config.is_encoder_decoder else "CAUSAL_LM"
    attention, feedforward = MODULES.get(architecture, ([], []))
    match technique:
        case "lora":
            config = peft.LoraConfig(task_type=task, r=4, target_modules=attention, lora_dropout=0.5)
        case "ia3":
            modules = {"target_modules": [*attention, *feedforward], "feedforward_modules": feedforward}
            config = peft.IA3Config(task_type=task, **modules)
        case "prompt_tuning":
            config = peft.PromptTuningConfig(task_type=task, num_virtual_tokens=5)
        case "p_tuning":
            config = peft.PromptEncoderConfig(task_type=task, num_virtual_tokens=5, encoder_hidden_size=16)
        case "prefix_tuning":
            config = peft.PrefixTuningConfig(task_type=task, num_virtual_tokens=5)
        case _:
            raise AssertionError(technique)
    adapted = peft.get_peft_model(model, config)
    size, middle = {"lora": (0.2, 0), "ia3": (0.4, 1)}.get(technique, (1, 0))
    with torch.no_grad():
        for weight in (weight for weight in adapted.parameters() if weight.requires_grad):
            weight.copy_(torch.randn_like(weight) * size + middle)
    return adapted.eval()


@pytest.fixture(scope="session")
def prompts(tokenizer: PreTrainedTokenizerBase) -> list[list[int]]:
    """Prompts of distinct lengths, longest first, with a common beginning."""
    intents = ["return the sum of a and b over all values", "sort the list xs in reverse", "define add", "x"]
    found: list[list[int]] = [tokenizer.encode(f"### Instruction:\n{intent}\n### Response:\n") for intent in intents]
    assert [len(prompt) for prompt in found] == sorted({len(prompt) for prompt in found}, reverse=True)
    return found
