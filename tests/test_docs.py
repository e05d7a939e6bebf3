"""The documentation names every key that there is."""

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from raypeft.spec import study
from raypeft.spec.catalogue import DatasetEntry, ModelEntry
from raypeft.spec.protocol import Protocol
from raypeft.spec.technique import Dimension, Technique

DOCS = Path(__file__).resolve().parents[1] / "docs"
SECTIONS = ("search", "early_stopping", "training", "validation", "test", "icl", "data", "resources", "protocol")
CLASSES = (
    study.Search, study.EarlyStopping, study.Training, study.Validation, study.Test, study.Icl, study.Subsets,
    study.Resources, Protocol,
)  # fmt: skip


def documented(page: str) -> set[str]:
    return set(re.findall(r"`([\w.]+)", (DOCS / page).read_text(encoding="utf-8")))


def test_every_key_of_a_study_is_documented() -> None:
    keys = {f"{section}.{name}" for section, kind in zip(SECTIONS, CLASSES, strict=True) for name in kind.model_fields}
    keys |= set(study.Study.model_fields) - {*SECTIONS, "catalogue"}
    assert keys - documented("studies.md") == set()


@pytest.mark.parametrize(
    ("kind", "page"),
    [
        (ModelEntry, "studies.md"),
        (DatasetEntry, "studies.md"),
        (Technique, "techniques.md"),
        (Dimension, "techniques.md"),
    ],
)
def test_every_key_of_the_other_files_is_documented(kind: type[BaseModel], page: str) -> None:
    assert set(kind.model_fields) - documented(page) == set()
