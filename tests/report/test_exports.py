"""LaTeX, JSON, Parquet and peft's schema: the same numbers everywhere, and documents that compile."""

import csv
import io
import json
import re
import shutil
import subprocess
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from benchmarks.recording import HOSTILE, record_compared
from raypeft.output.text import percent
from raypeft.report import write, write_peft
from raypeft.report.numbers.gather import gather
from raypeft.report.tables.cells import cell_table
from raypeft.report.tables.latex import escape, to_latex
from raypeft.report.tables.table import Column, Table
from raypeft.runs.folder import Run

from .test_page import Page

DOCUMENT = r"""\documentclass{article}
\usepackage[T1]{fontenc}
\usepackage{textcomp,booktabs,graphicx,longtable}
\begin{document}
%s
\end{document}
"""


def latex_rows(text: str) -> list[list[str]]:
    body = text.split(r"\midrule")[1].split(r"\bottomrule")[0].replace(r"\endhead", "")
    return [re.split(r"(?<!\\) & ", line.removesuffix(r" \\")) for line in body.strip().splitlines()]


def test_page_csv_latex_json_and_parquet_agree(compared: Run) -> None:
    folder = compared.report_folder
    in_json = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    with (folder / "tables" / "cells.csv").open(encoding="utf-8") as stream:
        in_csv = list(csv.DictReader(stream))
    header, *on_page = Page(folder / "index.html").rows["cells"]
    in_latex = latex_rows((folder / "tables" / "cells.tex").read_text(encoding="utf-8"))
    tidy = pq.read_table(folder / "results.parquet").to_pylist()
    assert len(in_json["cells"]) == len(in_csv) == len(on_page) == len(in_latex) == 3
    shown = {"em@10": "EM@10", "em@1": "EM@1", "codebleu": "CodeBLEU", "codebleu_flat": "flat", "chrf": "chrF"}
    for one, row, cells, latex in zip(in_json["cells"], in_csv, on_page, in_latex, strict=True):
        for key, title in shown.items():
            (number,) = (
                each["value"] for each in tidy if each["technique"] == one["technique"] and each["metric"] == key
            )
            assert one[key] == float(row[key]) == number
            place = header.index(title)
            assert cells[place] == percent(number)
            assert latex[place] in (percent(number), rf"\textbf{{{percent(number)}}}")
        for bound in ("em@10_low", "em@10_high"):
            assert one[bound] == float(row[bound])
    assert in_json["answer"][0].startswith("On the test items, the highest EM@10 was that of LoRA")


def test_results_are_tidy(compared: Run) -> None:
    rows = pq.read_table(compared.report_folder / "results.parquet").to_pylist()
    icl = [row for row in rows if row["kind"] == "icl" and row["metric"] == "em@10"]
    assert [(row["examples"], row["seed"], row["value"]) for row in icl] == [
        (0, 1, 0.0),
        (2, 1, 25.0),
        (2, 2, 30.0),
        (2, 3, 20.0),
    ]
    (loss,) = (row for row in rows if row["technique"] == "ia3" and row["metric"] == "validation_loss")
    assert (loss["value"], loss["model"], loss["trial"]) == (1.3, "tiny-decoder", "tiny-decoder·ia3·snippets·002")
    assert all(row["value"] is not None for row in rows)
    keys = [
        (row["model"], row["test_set"], row["technique"], row["examples"], row["seed"], row["metric"]) for row in rows
    ]
    assert len(keys) == len(set(keys))


def test_a_report_of_nothing_has_files_too(empty: Run) -> None:
    write(empty)
    assert pq.read_table(empty.report_folder / "results.parquet").num_rows == 0
    content = json.loads((empty.report_folder / "results.json").read_text(encoding="utf-8"))
    assert len(content["cells"]) == 6 and content["differences"] == []


def test_latex_escapes_everything() -> None:
    assert escape("50 % & a_b $x$ {y} #1 ~^\\ <z>") == (
        r"50 \% \& a\_b \$x\$ \{y\} \#1 \textasciitilde{}\textasciicircum{}\textbackslash{} \textless{}z\textgreater{}"
    )
    assert escape("é − ± 漢 \ufffd") == r"é \ensuremath{-} \ensuremath{\pm} ? ?"


@pytest.mark.parametrize("rows", [3, 60])
def test_latex_compiles(partial: Run, tmp_path: Path, rows: int) -> None:
    if shutil.which("pdflatex") is None:
        pytest.skip("there is no pdflatex")
    hostile = Table(
        "hostile",
        HOSTILE,
        [Column("a", "A & B", lambda row: row), Column("b", "% _", lambda row: row, long=True, emphasised=True)],
        [HOSTILE, r"\input{/etc/passwd} \\ & # ^^41", "tab\there"] * (rows // 3),
        lambda row: True,
        HOSTILE,
    )
    tables = [cell_table(gather(partial)), hostile]
    (tmp_path / "paper.tex").write_text(DOCUMENT % "\n".join(map(to_latex, tables)), encoding="utf-8")
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]


def test_pefts_schema(tmp_path: Path) -> None:
    run = record_compared(tmp_path / "run")
    best = run.cell_folder(run.plan.cells[0]) / "best"
    best.mkdir()
    (best / "adapter_config.json").write_text('{"peft_type": "LORA", "r": 16}')
    (best / "adapter_model.safetensors").write_bytes(b"x" * 100)
    folder = write_peft(run)
    assert sorted(path.name for path in folder.iterdir()) == [
        f"{technique}--tiny-decoder-snippets.json" for technique in ("ia3", "lora", "prefix_tuning")
    ]
    result = json.loads((folder / "lora--tiny-decoder-snippets.json").read_text())
    # The keys that peft's method_comparison/processing.py reads.
    run_info, train_info, meta_info = result["run_info"], result["train_info"], result["meta_info"]
    assert run_info["experiment_name"] == "lora/tiny-decoder-snippets"
    assert run_info["peft_config"]["peft_type"] == "LORA"
    assert run_info["train_config"]["model_id"] == "tiny-decoder"
    assert {"created_at", "total_time", "peft_branch", "error_msg"} <= set(run_info)
    assert train_info["status"] == "success" and train_info["file_size"] == 100
    for key in ("accelerator_memory_max", "accelerator_memory_reserved_avg", "accelerator_memory_reserved_99th"):
        assert train_info[key] == 512.5 * 2**20
    assert train_info["num_trainable_params"] == 12288
    last = train_info["metrics"][-1]
    assert last["test accuracy"] == 0.75
    assert {"train loss", "train samples", "train total tokens"} <= set(last)
    assert meta_info["package_info"]["torch-version"] == "2.13.0"
    assert {"peft-version", "transformers-version", "datasets-version", "bitsandbytes-version"} <= set(
        meta_info["package_info"]
    )
    assert "accelerator" in meta_info["system_info"]


def test_json_stands_whatever_the_texts_hold(partial: Run) -> None:
    write(partial)
    text = (partial.report_folder / "results.json").read_text(encoding="utf-8")
    cells = json.loads(text)["cells"]
    assert HOSTILE.split("\x1b")[0].split("|")[0].strip() in (cells[2]["note"] or "")
    assert io.StringIO(text).read().isascii()
