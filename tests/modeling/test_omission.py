"""A worker loads bitsandbytes for a study that quantises, and for no other."""

import subprocess
import sys

import pytest

CALL = """
import sys
from raypeft.modeling.omission import omit_bitsandbytes
from raypeft.spec.resolve import resolve
omit_bitsandbytes(resolve("quickstart", settings=[f"techniques=[{sys.argv[1]}]"]))
import peft
from raypeft.modeling.precision import has_bitsandbytes
print(has_bitsandbytes(), sys.modules.get("bitsandbytes") is not None)
"""


@pytest.mark.parametrize(("techniques", "loaded"), [("lora, ia3", False), ("lora, qlora_4bit", True)])
def test_bitsandbytes_is_loaded_where_weights_are_quantised(techniques: str, loaded: bool) -> None:
    done = subprocess.run([sys.executable, "-c", CALL, techniques], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(loaded)] * 2
