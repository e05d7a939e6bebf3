"""The table of memory: peaks beside the batches that they are of."""

from collections.abc import Callable

from benchmarks.recording import DATASET, DECODER, Recorder
from raypeft.output.files import read_json, write_json
from raypeft.report.numbers.gather import gather
from raypeft.report.tables.cells import memory_table
from raypeft.report.tables.table import to_csv, to_markdown
from raypeft.spec.plan import Cell


def test_peaks_stand_beside_their_batches(begin: Callable[..., Recorder]) -> None:
    record = begin()
    for name, batches in (("lora", (8, 16)), ("ia3", (2, 16))):
        cell = Cell(DECODER, DATASET, name)
        record.trial(cell, 0, {"r": 16}, [2.0, 1.0], 30.0)
        record.select(cell, 0, 1, 1.0, 30.0, {"r": 16})
        memory = {"training_memory_mib": 3000.4, "training_reserved_mib": 3100.0, "decoding_memory_mib": 2000.0,
                  "decoding_reserved_mib": 2500.0, "gradient_checkpointing": False}  # fmt: skip
        file = record.run.selection_file(cell)
        write_json(file, {**read_json(file), **memory, "micro_batch": batches[0], "decode_batch": batches[1]})
    table = memory_table(gather(record.run))
    lines = [line.split(",") for line in to_csv(table).splitlines()]
    keys = "training_memory_mib training_reserved_mib micro_batch gradient_checkpointing decoding_memory_mib"
    assert lines[0][3:] == f"{keys} decoding_reserved_mib decode_batch beams equal".split()
    found = {line[2]: line[3:] for line in lines[1:]}
    assert found["lora"] == ["3000.4", "3100.0", "8", "False", "2000.0", "2500.0", "16", "10", "True"]
    assert found["ia3"][2] == "2" and found["ia3"][-1] == "False"
    assert "reserved" in to_markdown(table)


def test_without_a_gpu_nothing_is_reserved(begin: Callable[..., Recorder]) -> None:
    record = begin()
    cell = Cell(DECODER, DATASET, "lora")
    record.trial(cell, 0, {"r": 16}, [2.0, 1.0], 30.0)
    record.select(cell, 0, 1, 1.0, 30.0, {"r": 16})
    table = memory_table(gather(record.run))
    assert len(table.rows) == 1 and "reserved" not in [column.title for column in table.columns]
