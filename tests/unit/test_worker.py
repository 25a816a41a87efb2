"""What a worker is told when it begins, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
TELLS = """
import gc
import operators.ingest.ingest_function
from operators.worker import settle
before = len(gc.get_objects())
settle()
made = [[] for _ in range(1000)]
print(before, len(gc.get_objects()), *gc.get_threshold())
"""


def test_collections_of_garbage_pass_over_what_was_imported() -> None:
    ran = subprocess.run([sys.executable, "-c", TELLS], cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    before, looked_at, *thresholds = map(int, ran.stdout.split())
    assert before > 50_000 and 1000 <= looked_at < before / 50
    assert thresholds > [700, 10, 10]
