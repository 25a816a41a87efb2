"""What a worker is told when it begins, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
COLLECTS = """
import gc
import operators.ingest.ingest_function
from operators.worker import settle
before = len(gc.get_objects())
settle()
made = [[] for _ in range(1000)]
print(before, len(gc.get_objects()), *gc.get_threshold())
"""


def test_collections_of_garbage_pass_over_what_was_imported() -> None:
    ran = subprocess.run([sys.executable, "-c", COLLECTS], cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    before, looked_at, *thresholds = map(int, ran.stdout.split())
    assert before > 50_000 and 1000 <= looked_at < before / 50
    assert thresholds > [700, 10, 10]


SAMPLES = """
from threading import active_count
from apache_beam.runners.worker.statesampler import StateSampler, get_current_tracker
from apache_beam.utils.counters import CounterFactory
from operators.worker import settle

def threads_of_a_bundle(sampler):
    sampler.reset()
    before = active_count()
    sampler.start()
    assert get_current_tracker() is sampler and sampler.started
    during = active_count() - before
    sampler.stop_if_still_running()
    assert get_current_tracker() is None and sampler.finished and active_count() == before
    return during

sampler, under_way = (StateSampler(name, CounterFactory()) for name in "ab")
found = [threads_of_a_bundle(sampler)]
before = active_count()
under_way.start()
settle()
found.append(threads_of_a_bundle(sampler))
settle()
found.append(threads_of_a_bundle(sampler))
found.append(active_count() - before)
under_way.stop()
found.append(active_count() - before)
print(*found)
"""


def test_bundles_have_no_thread_that_looks_on_and_one_that_had_it_is_rid_of_it() -> None:
    ran = subprocess.run([sys.executable, "-c", SAMPLES], cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split() == ["1", "0", "0", "1", "0"]
