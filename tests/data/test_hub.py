"""Data sets of the hub, read through a hub on loopback."""

import json
import subprocess
import sys
from io import BytesIO

import pyarrow
import pyarrow.parquet

from tests.hub.conftest import environment, hub  # noqa: F401 (fixtures)
from tests.hub.server import Hub, Repository

READ = """
import json
from raypeft.data.sources import SPLITS, read_split
from raypeft.spec.catalogue import shipped_catalogue
for name in ("conala", "codealpacapy"):
    found = {split: read_split(name, shipped_catalogue().datasets[name], split) for split in SPLITS}
    print(json.dumps({split: [part.source, [[i.id, i.intent, i.code] for i in part.items], part.incomplete]
                      for split, part in found.items()}))
"""


def parquet(rows: list[dict[str, object]]) -> bytes:
    buffer = BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), buffer)
    return buffer.getvalue()


def test_the_papers_data_sets_are_read_from_the_hubs_files(hub: Hub, environment: dict[str, str]) -> None:  # noqa: F811
    environment.pop("RAYPEFT_DATA", None)
    commit = "40a18876c1acaf945d9fdbc4f477357968cd22b2"
    rows = [
        {"question_id": "12-3", "nl": "add", "cmd": "a + b", "oracle_man": []},
        {"question_id": "12-4", "nl": None, "cmd": "x"},
    ]
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
    hub.datasets["neulab/docprompting-conala"] = Repository(
        {f"conala-{split}.jsonl": lines for split in ("train", "dev", "test")}, pinned=commit
    )
    hub.datasets["antolin/codealpaca-filtered"] = Repository(
        {
            f"default/{split}/0000.parquet": parquet([{"nl": split, "cmd": None}, {"nl": split, "cmd": "x"}])
            for split in ("train", "valid", "test")
        },
        revisions=("refs/convert/parquet",),
    )
    done = subprocess.run([sys.executable, "-c", READ], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    conala, codealpacapy = map(json.loads, done.stdout.splitlines())
    where = f"neulab/docprompting-conala@{commit}"
    assert conala["validation"] == [f"{where}:conala-dev.jsonl", [["12-3", "add", "a + b"]], ["line 2"]]
    where = "antolin/codealpaca-filtered@refs/convert/parquet"
    assert codealpacapy["validation"] == [f"{where}:default/valid/0000.parquet", [["2", "valid", "x"]], ["row 1"]]
    assert [codealpacapy[split][1][0][1] for split in ("train", "test")] == ["train", "test"]
