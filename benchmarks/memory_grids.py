"""Models of random weights and the trials whose memory `memory.py` measures."""

from typing import Any

LLAMA = "LlamaConfig"
CODEGEN = "CodeGenConfig"
T5 = "T5Config"

# name: configuration class of transformers and its arguments
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama-48m": (LLAMA, {"vocab_size": 16000, "hidden_size": 512, "intermediate_size": 1376, "num_hidden_layers": 10,
                          "num_attention_heads": 8, "num_key_value_heads": 8}),
    "t5-50m": (T5, {"vocab_size": 16000, "d_model": 512, "d_ff": 2048, "num_layers": 6, "num_decoder_layers": 6,
                    "num_heads": 8, "d_kv": 64, "decoder_start_token_id": 0}),
    "llama-110m": (LLAMA, {"vocab_size": 32000, "hidden_size": 640, "intermediate_size": 1728, "num_hidden_layers": 14,
                           "num_attention_heads": 10, "num_key_value_heads": 10}),
    "llama-gqa-160m": (LLAMA, {"vocab_size": 49152, "hidden_size": 768, "intermediate_size": 2048,
                               "num_hidden_layers": 16, "num_attention_heads": 12, "num_key_value_heads": 4,
                               "tie_word_embeddings": True}),
    "codegen-130m": (CODEGEN, {"vocab_size": 32000, "n_embd": 640, "n_layer": 16, "n_head": 8, "rotary_dim": 32,
                               "n_positions": 512, "n_ctx": 512, "bos_token_id": None, "eos_token_id": 1}),
    "t5-150m": (T5, {"vocab_size": 32000, "d_model": 640, "d_ff": 2560, "num_layers": 10, "num_decoder_layers": 10,
                     "num_heads": 10, "d_kv": 64, "decoder_start_token_id": 0}),
    "llama-1b": (LLAMA, {"vocab_size": 32016, "hidden_size": 2048, "intermediate_size": 5504, "num_hidden_layers": 22,
                         "num_attention_heads": 16, "num_key_value_heads": 16}),
    "code-llama-7b": (LLAMA, {"vocab_size": 32016, "hidden_size": 4096, "intermediate_size": 11008,
                              "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 32}),
}  # fmt: skip
# What peft adapts of them, which the plan of a model without an entry in the catalogue does not know
TARGETS = {
    LLAMA: "{attention: [q_proj, v_proj], feedforward: [down_proj]}",
    CODEGEN: "{attention: [qkv_proj]}",
    T5: "{attention: [q, v], feedforward: [wo]}",
}
ONE_ITEM = ("training.micro_batch=1", "test.decode_batch=1", "validation.em_items=2")
SHORT = ("catalogue.datasets.long.max_code_tokens=16",)
# model, technique and settings of the study
GRIDS: dict[str, list[tuple[str, str, tuple[str, ...]]]] = {
    "small": [
        ("llama-110m", "lora", ()),
        ("t5-150m", "full", ()),
    ],
    "cpu": [
        ("codegen-130m", "lora", ()),
        ("llama-gqa-160m", "lora", ()),
        ("llama-110m", "qlora_4bit", ()),
        ("t5-150m", "lora", ()),
        ("t5-150m", "full", ()),
        ("llama-110m", "full", ()),
        ("llama-110m", "lora", ("training.gradient_checkpointing=true",)),
        ("llama-110m", "qlora_8bit", ()),
        ("codegen-130m", "full", ()),
        ("codegen-130m", "full", ("training.precision=bf16",)),
        ("t5-150m", "full", ("training.precision=bf16",)),
        ("llama-110m", "lora", ("training.precision=bf16",)),
        ("llama-110m", "full", ("training.optimizer=adamw_torch", "training.micro_batch=2")),
        ("t5-150m", "prefix_tuning", ()),
        ("llama-110m", "lora", ()),
        ("llama-110m", "ia3", ()),
        ("llama-110m", "prompt_tuning", ()),
        ("llama-110m", "prefix_tuning", ()),
        ("llama-110m", "lora", ("training.attention=eager",)),
        ("llama-110m", "dora", ()),
        ("llama-110m", "dora", ("training.precision=bf16",)),
        ("llama-110m", "dora", ("training.precision=bf16", "training.gradient_checkpointing=true")),
        ("llama-110m", "vera", ()),
        ("llama-110m", "vera", ("training.precision=bf16",)),
        ("llama-110m", "adalora", ("training.epochs=4",)),
        ("llama-110m", "p_tuning", ()),
        ("t5-150m", "qlora_4bit", ()),
        ("llama-110m", "lora", ONE_ITEM),
        ("llama-110m", "full", ONE_ITEM),
        ("codegen-130m", "full", ONE_ITEM),
        ("t5-150m", "lora", ONE_ITEM),
        ("llama-110m", "qlora_8bit", ONE_ITEM),
        ("llama-110m", "qlora_4bit", ONE_ITEM),
    ],
    "large": [
        ("llama-1b", "qlora_4bit", (*ONE_ITEM, *SHORT)),
        ("llama-1b", "qlora_8bit", (*ONE_ITEM, *SHORT)),
        ("llama-1b", "lora", (*ONE_ITEM, *SHORT)),
    ],
    "gpu": [
        ("code-llama-7b", "lora", ()),
        ("code-llama-7b", "qlora_4bit", ()),
        ("code-llama-7b", "qlora_8bit", ()),
        ("code-llama-7b", "lora", ("training.gradient_checkpointing=true",)),
        ("code-llama-7b", "ia3", ()),
        ("code-llama-7b", "prefix_tuning", ()),
        ("codegen-130m", "full", ()),
        ("t5-150m", "full", ()),
        ("llama-gqa-160m", "lora", ()),
    ],
    "limits": [
        (model, technique, (f"resources.gpu_memory_gb={limit}", *settings))
        for model, technique, settings, limits in (
            ("code-llama-7b", "lora", (), (14, 15, 16, 18, 20, 24)),
            ("code-llama-7b", "qlora_4bit", (), (6, 7, 8, 10, 14)),
            ("code-llama-7b", "qlora_8bit", (), (9, 11, 14)),
            ("llama-gqa-160m", "full", (), (2, 3, 4)),
            ("t5-150m", "lora", ("training.precision=fp32",), (1.5, 2, 3)),
        )
        for limit in limits
    ],
}  # fmt: skip
