"""Where the time of one ingest call goes: its steps done one after another, each timed."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

from bench.report.events import BATCH, batches
from bench.report.stopwatch import Race, Timing
from operators.batch.event_batch import EventBatch
from operators.events.event_columns import EventColumns
from operators.ingest.partials import MetricPartials
from operators.parsing import make_parser
from operators.parsing.payloads import Payloads
from operators.plan import Plan

WHOLE = "all steps"
_NEVER_LATE_MS = -(2**62)


def stages(plan: Plan, rounds: int) -> Race:
    """Time the steps of ingest on fresh batches.

    Args:
        plan: the event and the metrics; payloads are JSON.
        rounds: how many batches.

    Returns:
        A timing a step, in order, a metric being one; what an earlier metric computed of a column is there
        for the later ones, as in the job. No event is taken for one that may be late. The last is the sum.
    """
    event = plan.event_with_checks()
    parser = make_parser("json", {name: (field.path, field.type) for name, field in event.fields.items()})
    columns = EventColumns(event)
    metrics = [MetricPartials(metric) for metric in plan.resolved_metrics()]
    names = ["split into lines", "parse", "times and checks", *(metric.name for metric in plan.metrics)]
    timings = {name: Timing(name) for name in [*names, WHOLE]}
    cpu = wall = 0.0
    for number, lines in enumerate(batches(rounds + 1)):
        laps = _Laps(names)
        data = b"\n".join(lines)
        gc.collect()
        gc.disable()
        began = time.perf_counter()
        payloads = laps(lambda data=data: Payloads.from_lines(data))
        parsed = laps(lambda payloads=payloads: parser.parse(payloads))
        prepared = laps(lambda parsed=parsed: columns.prepare(parsed.frame, None, 0, False, False))
        batch = EventBatch(prepared.frame, prepared.time_ms)
        for metric in metrics:
            laps(lambda m=metric, b=batch: list(m.records(b, _NEVER_LATE_MS, lambda _: b"{}", b"{}")))
        gc.enable()
        cpu, wall = cpu + sum(laps.seconds.values()), wall + time.perf_counter() - began
        if number:
            for name, seconds in [*laps.seconds.items(), (WHOLE, sum(laps.seconds.values()))]:
                timings[name].seconds.append(seconds)
                timings[name].items.append(BATCH)
    return Race(tuple(timings.values()), min(1.0, cpu / wall))


class _Laps:
    """Times one step after another."""

    def __init__(self, names: list[str]) -> None:
        self._left = list(reversed(names))
        self.seconds: dict[str, float] = {}

    def __call__(self, step: Callable[[], object]) -> object:
        began = time.process_time()
        found = step()
        self.seconds[self._left.pop()] = time.process_time() - began
        return found
