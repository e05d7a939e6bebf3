"""A model's tokenizer by itself, without loading or fetching its weights."""

import os
from typing import Any

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from transformers import AutoConfig, AutoTokenizer

from raypeft.hub import cached_snapshot
from raypeft.modeling.source import reading
from raypeft.spec.catalogue import Architecture, ModelEntry


def load_tokenizer(name: str, entry: ModelEntry) -> tuple[Any, Architecture]:
    """A model's tokenizer and architecture.

    Raises:
        UserError: folder or repository missing or unreadable, or in need of code of its own.
    """
    folder = entry.path(f"models.{name}.folder") or cached_snapshot(str(entry.hub), entry.revision)
    source = str(folder or entry.hub)
    options: dict[str, Any] = {"trust_remote_code": entry.trust_remote_code}
    if folder is None:
        options["revision"] = entry.revision
    with reading(name, source):
        config = AutoConfig.from_pretrained(source, **options)
        tokenizer = AutoTokenizer.from_pretrained(source, **options)
    return tokenizer, "encoder_decoder" if config.is_encoder_decoder else "decoder"
