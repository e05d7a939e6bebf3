"""Prompt templates: text in, text out."""

import random
from collections.abc import Sequence

from raypeft.data.sources import Item
from raypeft.spec.catalogue import Architecture

TASK_PREFIX = "Generate Python code: "
ICL_HEADER = "Generate Python code given a natural language instruction."


def tuned_prompt(intent: str, architecture: Architecture) -> str:
    """Prompt of a tuned model, in training and at test time (paper, section 4.4)."""
    body = f"### Instruction:\n{intent}\n### Response:\n"
    return TASK_PREFIX + body if architecture == "encoder_decoder" else body


def package_test_prompt(intent: str, architecture: Architecture) -> str:
    """Test prompt of the replication package, which differs from its training prompt."""
    if architecture == "encoder_decoder":
        return tuned_prompt(intent, "decoder") + "<extra_id_0>"
    return "\n" + tuned_prompt(intent, architecture)


def icl_prompt(intent: str, examples: Sequence[Item]) -> str:
    """In-context prompt: header, examples, then the intent (replication package)."""
    shots = "".join(f"\n### Instruction:\n{item.intent}\n### Response:\n{item.code}\n" for item in examples)
    return f"{ICL_HEADER}{shots}\n{tuned_prompt(intent, 'decoder')}"


def draw_examples(train: Sequence[Item], count: int, seed: int) -> list[Item]:
    """Examples of one ICL run, drawn without replacement, the same for every test item.

    Raises:
        ValueError: more examples than items.
    """
    return random.Random(seed).sample(list(train), count)
