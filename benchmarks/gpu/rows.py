"""The trials whose peaks `benchmarks.gpu` measures."""

from collections.abc import Mapping
from dataclasses import dataclass, field

ONE = ("training.micro_batch=1", "test.decode_batch=1")
EIGHT = ("training.micro_batch=8", "test.decode_batch=8")
CARD = "resources.gpu_memory_gb=24"  # the paper's


@dataclass(frozen=True)
class Row:
    """One trial.

    Attributes:
        model: of the catalogue.
        technique: its name.
        settings: of the study.
        items: training items, eight to a step.
        point: hyperparameters other than the paper's.
    """

    model: str
    technique: str
    settings: tuple[str, ...]
    items: int = 16
    point: Mapping[str, object] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Words for the table, and the key under which the result is kept."""
        values = (f"{name}={value}" for name, value in self.point.items())
        return " ".join((self.model, self.technique, *(word.rpartition(".")[2] for word in self.settings), *values))


ROWS = [
    Row("codellama-34b-python", "qlora_4bit", (*ONE, CARD, "validation.em_items=2")),
    Row("codellama-7b-python", "lora", EIGHT, items=96),
    Row("codellama-7b-python", "qlora_4bit", EIGHT, items=48),
    Row("codellama-7b-python", "qlora_8bit", EIGHT, items=24),
    # the largest point of the search space, from the study's batches down to what the card bears
    Row(
        "codellama-34b-python",
        "qlora_4bit",
        (CARD, "validation.em_items=1", "test.decode_batch=4", "catalogue.datasets.long.max_code_tokens=128"),
        point={"r": 64, "target_modules": "all-linear"},
    ),
    # the least that is said to fit
    Row(
        "codellama-7b-python",
        "qlora_4bit",
        (*ONE, "training.quantized_rest=fp32", "resources.gpu_memory_gb=7", "validation.em_items=2"),
    ),
    Row("codellama-7b-python", "lora", ONE),
    Row("codellama-7b-python", "qlora_4bit", ONE),
    Row("codellama-7b-python", "qlora_8bit", ONE),
    Row("codellama-13b-python", "qlora_4bit", EIGHT),
    Row("codellama-7b-python", "lora", (*EIGHT, "training.gradient_checkpointing=true")),
]
DRY = [
    Row("tiny-decoder", technique, settings)
    for technique, settings in (
        ("lora", (*EIGHT, "validation.em_items=1")),
        ("qlora_4bit", (*EIGHT, "training.precision=bf16", "validation.em_items=1")),
        ("qlora_8bit", (*ONE, "training.quantized_rest=fp32", "validation.em_items=1")),
    )
]
