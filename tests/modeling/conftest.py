"""Tiny models of every architecture the studies use, loaded once for each way of quantising them."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers

from raypeft.modeling.loading import Base, load_base
from raypeft.spec.loading import PACKAGE, names
from raypeft.spec.plan import Plan
from raypeft.spec.resolve import resolve
from tests.conftest import SMALL

EVERY_TECHNIQUE = tuple(names("search_spaces"))
ARCHITECTURES = ("tiny-decoder", "tiny-encoder-decoder", "codegen", "codegen2")
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")

SHORT = (
    *SMALL,
    "catalogue.datasets.snippets={title: S, folder: 'embedded:snippets', max_prompt_tokens: 32, max_code_tokens: 12}",
    "data.validation=8",
    "validation.em_items=1",
    "test.beams=2",
    "test.candidates=2",
)

Bases = Callable[[str, str], Base]


@pytest.fixture()
def tiny(tmp_path: Path) -> Path:
    """A copy of the embedded decoder, to be altered."""
    return Path(shutil.copytree(PACKAGE / "embedded" / "models" / "tiny-decoder", tmp_path / "tiny"))


@pytest.fixture(scope="session")
def codegen_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random CodeGen model with eight heads, whose weights are larger than a fresh model's, so that they matter."""
    folder = tmp_path_factory.mktemp("codegen")
    torch.manual_seed(11)
    config = transformers.CodeGenConfig(
        vocab_size=1536,
        n_positions=256,
        n_ctx=256,
        n_embd=64,
        n_layer=2,
        n_head=8,
        rotary_dim=4,
        initializer_range=0.15,
        bos_token_id=None,
        eos_token_id=1,
    )
    transformers.CodeGenForCausalLM(config).save_pretrained(folder)
    for name in TOKENIZER_FILES:
        (folder / name).write_bytes((PACKAGE / "embedded" / "models" / "tiny-decoder" / name).read_bytes())
    return folder


@pytest.fixture(scope="session")
def matrix(codegen_folder: Path) -> Plan:
    """Every shipped technique on every architecture, reduced to a second a cell: 10 steps and two reports."""
    codegen = f"title: C, folder: {codegen_folder}, targets: {{attention: [qkv_proj], feedforward: [fc_in, fc_out]}}"
    return Plan(
        resolve(
            "quickstart",
            settings=[
                *SHORT,
                "training.evaluate_every=1",
                "early_stopping=null",
                f"models=[{', '.join(ARCHITECTURES)}]",
                f"techniques=[{', '.join(EVERY_TECHNIQUE)}]",
                f"catalogue.models.codegen={{{codegen}}}",
                f"catalogue.models.codegen2={{{codegen}, qkv_layout: 8}}",
            ],
        )
    )


@pytest.fixture(scope="session")
def bases(matrix: Plan) -> Bases:
    """Function (model, technique) -> base model, quantised as the technique says."""
    loaded: dict[tuple[str, str | None], Base] = {}

    def base(model: str, technique: str) -> Base:
        quantization = matrix.resolved.techniques[technique].quantization
        key = (model, quantization)
        if key not in loaded:
            loaded[key] = load_base(model, matrix.resolved.models[model], "fp32", quantization=quantization)
        return loaded[key]

    return base
