"""Data sets of a study's own, and shipped ones with other keys."""

import pytest

from raypeft.errors import UserError
from raypeft.spec.catalogue import shipped_catalogue
from raypeft.spec.resolve import resolve
from tests.conftest import WriteStudy

STUDY = "question: Which?\nmodels: [tiny-decoder]\ndatasets: [conala]\ntechniques: [lora]\n"


def test_the_papers_data_sets() -> None:
    known = shipped_catalogue().datasets
    found = {
        name: (known[name].hub, known[name].expected_items, known[name].max_code_tokens, known[name].stop_strings)
        for name in ("conala", "codealpacapy")
    }
    assert found == {
        "conala": (
            "neulab/docprompting-conala",
            {"train": 2135, "validation": 201, "test": 543},
            64,
            ["\n"],
        ),
        "codealpacapy": (
            "antolin/codealpaca-filtered",
            {"train": 2192, "validation": 314, "test": 628},
            128,
            [],
        ),
    }
    joint = known["joint"]
    assert (joint.join, joint.max_prompt_tokens, joint.max_code_tokens) == (["conala", "codealpacapy"], 64, 128)


def test_a_shipped_data_set_takes_another_place(write_study: WriteStudy) -> None:
    name = write_study(STUDY)
    found = resolve(name, settings=["catalogue.datasets.conala.folder=/data/conala"]).datasets["conala"]
    shipped = shipped_catalogue().datasets["conala"]
    assert (found.folder, found.hub, found.revision, found.files) == ("/data/conala", None, None, {})
    assert (found.stop_strings, found.columns, found.title) == (shipped.stop_strings, shipped.columns, "CoNaLa")


def test_a_shipped_data_set_takes_other_limits(write_study: WriteStudy) -> None:
    name = write_study(STUDY)
    found = resolve(name, settings=["catalogue.datasets.conala.max_code_tokens=96"]).datasets["conala"]
    shipped = shipped_catalogue().datasets["conala"]
    assert (found.max_code_tokens, found.hub, found.files) == (96, shipped.hub, shipped.files)


def test_a_wrong_key_of_a_shipped_data_set_is_named(write_study: WriteStudy) -> None:
    name = write_study(STUDY)
    with pytest.raises(UserError) as caught:
        resolve(name, settings=["catalogue.datasets.conala.origin='('"])
    assert "  catalogue.datasets.conala.origin: is not a regular expression: missing )" in str(caught.value)
