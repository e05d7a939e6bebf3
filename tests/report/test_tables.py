"""Tables: the numbers of the run, the same in CSV and Markdown, and harmless whatever the texts hold."""

import csv
import io
import json
import re
from collections.abc import Callable

import pytest

from benchmarks.recording import DATASET, DECODER, Recorder, block, prediction
from raypeft.output.text import hyperparameters, last_line, one_line, points
from raypeft.report import write
from raypeft.report.numbers.gather import Numbers, gather
from raypeft.report.numbers.weighing import weigh
from raypeft.report.tables.cells import cell_table, trial_table
from raypeft.report.tables.differences import difference_table
from raypeft.report.tables.icl import comparison_table, icl_table
from raypeft.report.tables.table import Column, Table, to_csv, to_markdown
from raypeft.runs.folder import Run
from raypeft.spec.plan import Cell


def rows_of(table: Table) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(to_csv(table))))


def markdown_rows(table: Table) -> list[list[str]]:
    lines = [line for line in to_markdown(table).splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_cells_in_csv_are_unrounded(partial: Run) -> None:
    lora, ia3, *_, searching = rows_of(cell_table(gather(partial)))
    assert (lora["em@1"], lora["em@10"], lora["codebleu"], lora["codebleu_flat"]) == ("30.0", "45.0", "62.5", "60.0")
    assert (lora["validation_loss"], lora["trainable_parameters"]) == ("0.75", "12288")
    assert (lora["training_seconds"], lora["peak_memory_mib"], lora["above_icl"]) == ("9.0", "512.5", "29.0")
    assert json.loads(lora["hyperparameters"])["learning_rate"] == 0.002
    assert json.loads(lora["trials"]) == {"finished": 2, "stopped": 1}
    assert (lora["best"], ia3["best"], ia3["em@10"]) == ("True", "False", "36.25")
    assert (searching["em@10"], searching["state"]) == ("", "searching")


def test_cells_in_markdown_are_rounded_and_the_best_bold(partial: Run) -> None:
    header, _, lora, ia3, *_ = markdown_rows(cell_table(gather(partial)))
    assert dict(zip(header, lora, strict=True)) == {
        "Model": "Tiny decoder",
        "Data set": "Snippets",
        "Technique": "**LoRA**",
        "EM@10": "**45.0**",
        "EM@10, 95 %": "–",
        "Above ICL": "+29.0",
        "EM@1": "30.0",
        "CodeBLEU": "62.5",
        "CodeBLEU, 95 %": "–",
        "chrF": "50.0",
        "chrF, 95 %": "–",
        "flat": "60.0",
        "Validation loss": "0.750",
        "Selected hyperparameters": "r = 64, lora_alpha = 128, lora_dropout = 0.1, learning_rate = 0.002",
        "Trainable": "12,288",
        "Training, s": "9.0",
        "Memory, MiB": "512",
        "Trials": "2 finished, 1 stopped",
        "Result": "tested",
    }
    assert ia3[2] == "IA3"


def test_icl_and_comparison(partial: Run) -> None:
    numbers = gather(partial)
    _, two, *_ = rows_of(icl_table(numbers))
    assert (two["examples"], two["em@10_mean"], two["em@10_sd"][:8], two["runs"]) == ("2", "16.0", "4.582575", "3")
    assert markdown_rows(icl_table(numbers))[3][2:6] == ["**2**", "**16.0 ± 4.6**", "–", "8.0 ± 0.0"]
    decoder, encoder_decoder = rows_of(comparison_table(numbers))
    assert (decoder["technique"], decoder["icl_examples"], decoder["difference"]) == ("lora", "2", "29.0")
    assert (encoder_decoder["technique"], encoder_decoder["icl_em@10_mean"]) == ("", "8.75")
    assert encoder_decoder["note"].startswith("3 of 3 techniques without a test result")


def test_trials(partial: Run) -> None:
    rows = rows_of(trial_table(gather(partial)))
    assert len(rows) == 14
    stopped = rows[1]
    assert (stopped["state"], stopped["reports"], stopped["best_loss"]) == ("stopped", "5", "1.75")
    assert stopped["reason"] == "stopped by ASHA at report 5: 1.75 is not among the best 1/3"
    assert [row["selected"] for row in rows[:3]] == ["False", "False", "True"]
    assert rows[-1]["state"] == "running"


@pytest.mark.parametrize("make", [cell_table, comparison_table, icl_table, trial_table])
def test_both_files_have_every_row(partial: Run, make: Callable[[Numbers], Table]) -> None:
    table = make(gather(partial))
    header, _, *rows = markdown_rows(table)
    assert len(rows) == len(rows_of(table)) == len(table.rows)
    assert {len(row) for row in rows} == {len(header)}


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx"])
def test_text_cannot_become_a_formula(text: str) -> None:
    table = Table("t", "", [Column("note", "Note", lambda row: row)], [text], lambda row: False, "")
    assert rows_of(table) == [{"note": f"'{text}"}]


def test_numbers_below_zero_stay_numbers() -> None:
    table = Table("t", "", [Column("gap", "Gap", lambda row: row, points)], [-1.25], lambda row: False, "")
    assert rows_of(table) == [{"gap": "-1.25"}]
    assert markdown_rows(table)[2] == ["−1.2"]


def test_text_cannot_leave_its_markdown_cell() -> None:
    text = "a | b\n<script> [x](y) `c` **d** _e_ snake_case $f$ \\"
    table = Table("t", "", [Column("note", "Note", lambda row: row)], [text], lambda row: False, "")
    assert to_markdown(table).splitlines()[-1] == (
        r"| a \| b \<script\> \[x\](y) \`c\` \*\*d\*\* \_e\_ snake_case \$f\$ \\ |"
    )


def test_formatting() -> None:
    assert hyperparameters({"r": 16, "rate": 3e-5, "bias": "none"}) == "r = 16, rate = 3e-5, bias = none"
    assert one_line("a\n\tb \x1b[31m\u202e") == "a b �[31m�"
    assert last_line("Traceback\n  File x\nValueError: y\n\n") == "ValueError: y"
    assert last_line("x" * 300) == "x" * 200 + "…"
    assert points(-0.04) == "0.0"


def test_bold_is_what_its_own_test_supports(compared: Run) -> None:
    header, _, *rows = markdown_rows(difference_table(weigh(gather(compared))))
    assert [(row[2], row[3]) for row in rows[:2]] == [("**LoRA**", "**IA3**"), ("LoRA", "Prefix tuning")]
    for row in rows:
        for place in [place for place, title in enumerate(header) if title.endswith(", p")]:
            p = row[place].strip("*").replace("\\<", "").strip()
            assert row[place].startswith("**") == (float(p) < 0.05)


def test_without_in_context_learning_nothing_of_it_is_shown(begin: Callable[..., Recorder]) -> None:
    record = begin("icl=null", "models=[tiny-decoder]", techniques=("lora", "ia3"))
    record.test(Cell(DECODER, DATASET, "lora"), block(1.0, 40.0, 1.0, 1.0), [prediction(1)])
    record.test(Cell(DECODER, DATASET, "ia3"), block(1.0, 30.0, 1.0, 1.0), [prediction(1)])
    comparison = comparison_table(gather(record.run))
    assert [column.title for column in comparison.visible] == [
        "Model",
        "Data set",
        "Best technique",
        "EM@10",
        "Test items",
    ]
    assert rows_of(comparison)[0]["difference"] == ""
    page = write(record.run).read_text(encoding="utf-8")
    visible = page.split("<main>")[0].split("<body>")[1] + page.split("<main>")[1].split('id="provenance"')[0]
    assert "ICL" not in visible and "in-context" not in visible.lower()


def test_text_in_csv_is_neither_obeyed_by_a_terminal_nor_by_a_spreadsheet() -> None:
    column = Column("text", "Text", lambda row: row)
    rows = ["\x1b]0;title\x07\u202ered", "=1+1", "@a", "-a", {"r": "\x9b2J"}, -0.5, "a\nb"]
    table = Table("name", "Title", [column], rows, lambda row: False, "")
    found = [row["text"] for row in csv.DictReader(io.StringIO(to_csv(table)))]
    assert found == ["�]0;title��red", "'=1+1", "'@a", "'-a", '{"r": "�2J"}', "-0.5", "a\nb"]
