"""The numbers of a report for programs: JSON with every table, and one tidy Parquet with one row a number."""

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from raypeft.report.answer import answer
from raypeft.report.numbers.cells import CellRow
from raypeft.report.numbers.gather import Numbers
from raypeft.report.tables.table import Table

COSTS = ("validation_loss", "training_seconds", "peak_memory_mib", "trainable_parameters", "parameters")

# One row of the Parquet file: which system, tested on what, in which run, and one number of it.
SCHEMA = pa.schema(
    [
        ("kind", pa.string()),
        ("model", pa.string()),
        ("dataset", pa.string()),
        ("test_set", pa.string()),
        ("technique", pa.string()),
        ("examples", pa.int64()),
        ("seed", pa.int64()),
        ("trial", pa.string()),
        ("metric", pa.string()),
        ("value", pa.float64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("items", pa.int64()),
    ]
)


def to_json(numbers: Numbers, tables: Sequence[Table]) -> str:
    """Question, answer, every table under its name with unrounded numbers, and the manifest."""
    resolved = numbers.run.plan.resolved
    content = {
        "study": resolved.name,
        "question": resolved.study.question,
        "answer": list(answer(numbers)),
        **{table.name: [_values(table, row) for row in table.rows] for table in tables},
        "manifest": numbers.run.manifest().content(),
    }
    # A text may hold half a character that UTF-8 has no bytes for; escaped, it stands.
    return json.dumps(content, indent=1) + "\n"


def to_parquet(numbers: Numbers) -> bytes:
    """Every metric and cost of every test and run, one row each; values that do not exist have no row."""
    rows = [*_cells(numbers), *_icl(numbers)]
    table = pa.Table.from_pylist([row for row in rows if row["value"] is not None], schema=SCHEMA)
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


def _values(table: Table, row: Any) -> dict[str, Any]:
    values = {column.key: column.value(row) for column in table.columns if column.key}
    return {key: dict(value) if isinstance(value, Mapping) else value for key, value in values.items()}


def _cells(numbers: Numbers) -> Iterator[dict[str, Any]]:
    for row in numbers.cells:
        place = {
            "kind": "technique",
            "model": row.cell.model,
            "dataset": row.cell.dataset,
            "test_set": row.test_set,
            "technique": row.cell.technique,
            "trial": row.selection.trial,
            "items": row.items,
        }
        for metric, value in row.metrics.items():
            yield {**place, "metric": metric, "value": value, **_bounds(numbers, row, metric)}
        for cost in COSTS:
            yield {**place, "metric": cost, "value": getattr(row.selection, cost), "items": None}


def _bounds(numbers: Numbers, row: CellRow, metric: str) -> dict[str, float | None]:
    found = numbers.evidence.interval(row, metric)
    return {"low": found.low if found else None, "high": found.high if found else None}


def _icl(numbers: Numbers) -> Iterator[dict[str, Any]]:
    for row in numbers.icl:
        for metric, spread in row.metrics.items():
            for seed, value in zip(row.seeds, spread.values, strict=False):
                yield {
                    "kind": "icl",
                    "model": row.model,
                    "dataset": row.dataset,
                    "test_set": row.dataset,
                    "examples": row.examples,
                    "seed": seed,
                    "metric": metric,
                    "value": value,
                    "items": row.items,
                }
