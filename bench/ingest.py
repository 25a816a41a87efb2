"""What ingest costs on one core: split, parse, slice and the partials of five metrics, beside other ways.

    python bench/ingest.py [--json] [--rounds 20]

A batch is 40,000 lines of about 100 bytes (4 MB, what the job reads of a file at a time); a round is three of
them, two minutes of events, so that every round closes as many slices. No line comes twice in a run. All ways
get the same bytes in the same round:

- ingest: the job's own function, from the bytes of a chunk to the encoded envelope.
- ingest, 1 % torn: the same with every hundredth line cut short, each of which becomes a reject.
- our parser: splitting and parsing only, strict.
- polars: `read_ndjson` with a schema only; not strict, and one torn line makes the whole batch fail.
- msgspec: strict structs only.
- plain Python: msgspec structs and a loop that keeps the same five answers exactly, in sets and dicts.

Then ingest alone, step by step, and with events further apart: a batch then has more slices, each less full.

Goals: a million events a second, or where the machine is slow 1.3 times as fast as a parser alone; and with
1 % torn lines at least 80 % of the speed without.
"""

from __future__ import annotations

import os

os.environ["POLARS_MAX_THREADS"] = "1"

import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import polars as pl

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.report.events import BATCH, batches, torn
from bench.report.five_metrics import EVENT, five_metrics
from bench.report.stages import WHOLE, stages
from bench.report.stopwatch import Race, pin_to_one_core, race
from bench.report.tables import Report, arguments
from operators.ingest.ingest import Ingest
from operators.ingest.source_batch import SourceBatch
from operators.parsing import make_parser
from operators.parsing.payloads import Payloads
from operators.plan import Plan
from operators.records import Envelope

INGEST, INGEST_TORN, PARSER = "ingest", "ingest, 1 % torn", "our parser"
POLARS, MSGSPEC, PYTHON = "polars", "msgspec", "plain Python"
TORN = 0.01
GOAL = 1_000_000
BATCHES = 3
"""Batches of a round."""
SCHEMA = {
    "user_id": pl.String,
    "action": pl.String,
    "item_id": pl.String,
    "value": pl.Float64,
    "ts": pl.Int64,
}
PLAN = Plan.model_validate({"name": "bench", "event": EVENT, "metrics": five_metrics("5m", "1m")})


class Event(msgspec.Struct, gc=False):
    """The event, for msgspec."""

    user_id: str
    action: str
    item_id: str | None
    value: float | None
    ts: int


class Chunks:
    """The job's ingest, fed with chunks as its file source does."""

    def __init__(self) -> None:
        """Compile the pipeline."""
        self._ingest = Ingest(PLAN, "json", False, True, False)
        self.last: Envelope | None = None
        self.last_bytes = 0

    def __call__(self, chunks: list[bytes]) -> None:
        """Ingest some chunks, one after another."""
        for data in chunks:
            payloads = Payloads.from_lines(data)
            _, self.last = self._ingest.take(SourceBatch(payloads, _Position(payloads), ("file",)), 0)
            self.last_bytes = sum(len(record) for _, record in self.last.records)


class PlainPython:
    """The same five metrics by minute, exactly, in a loop over structs."""

    def __init__(self) -> None:
        """Hold nothing yet."""
        self._decode = msgspec.json.Decoder(Event).decode
        self._users: dict[int, set[str]] = defaultdict(set)
        self._actions: dict[int, Counter[str]] = defaultdict(Counter)
        self._items: dict[int, Counter[str | None]] = defaultdict(Counter)
        self._revenue: dict[int, float] = defaultdict(float)

    def __call__(self, chunks: list[bytes]) -> None:
        """Count some chunks."""
        for data in chunks:
            self._count(data)

    def _count(self, data: bytes) -> None:
        decode, users, actions, items = self._decode, self._users, self._actions, self._items
        for line in data.split(b"\n"):
            event = decode(line)
            if event.value is not None and event.value < 0:
                continue
            minute = event.ts // 60_000
            users[minute].add(event.user_id)
            actions[minute][event.action] += 1
            items[minute][event.item_id] += 1
            if event.action == "purchase" and event.value is not None:
                self._revenue[minute] += event.value


def main() -> None:
    """Run every measurement."""
    options = arguments(__doc__ or "", rounds=20).parse_args()
    pin_to_one_core()
    report = Report("Ingest on one core: five metrics of JSON events", options.json)
    ways, whole, with_torn = _ways()
    result = race(ways, rounds(options.rounds + 1))
    report.race(f"Fresh batches of {BATCH:,} lines, a thousand events a second", result, "event", POLARS)
    _check(whole, 0)
    _check(with_torn, 1)
    report.race("Steps of ingest", stages(PLAN, options.rounds), "event", WHOLE)
    _spread(report, max(2, options.rounds // 4))
    _judge(report, result)
    report.finish()


def rounds(count: int) -> Iterator[tuple[int, dict[str, object]]]:
    """Make the chunks of each round: the same for all, and the same with torn lines."""
    made = batches(count * BATCHES)
    for number in range(count):
        lines = [next(made) for _ in range(BATCHES)]
        whole = [b"\n".join(batch) for batch in lines]
        cut = [b"\n".join(torn(batch, TORN, number)) for batch in lines]
        yield (
            BATCH * BATCHES,
            dict.fromkeys((INGEST, PARSER, POLARS, MSGSPEC, PYTHON), whole) | {INGEST_TORN: cut},
        )


def _ways() -> tuple[dict[str, Callable[[object], object]], Chunks, Chunks]:
    whole, with_torn = Chunks(), Chunks()
    ours = make_parser("json", {name: (field.path, field.type) for name, field in PLAN.event.fields.items()})
    decode = msgspec.json.Decoder(Event).decode
    ways = {
        INGEST: whole,
        INGEST_TORN: with_torn,
        PARSER: _each(lambda data: ours.parse(Payloads.from_lines(data))),
        POLARS: _each(lambda data: pl.read_ndjson(data, schema=SCHEMA)),
        MSGSPEC: _each(lambda data: [decode(line) for line in data.split(b"\n")]),
        PYTHON: PlainPython(),
    }
    return ways, whole, with_torn


def _each(parse: Callable[[bytes], object]) -> Callable[[list[bytes]], None]:
    def run(chunks: list[bytes]) -> None:
        for data in chunks:
            parse(data)

    return run


def _spread(report: Report, count: int) -> None:
    """Show what it costs that events are further apart."""
    rows = []
    for per_second in (1_000, 100, 10):
        chunks = Chunks()
        made = batches((count + 1) * BATCHES, per_second)
        fed = (
            (BATCH * BATCHES, {INGEST: [b"\n".join(next(made)) for _ in range(BATCHES)]})
            for _ in range(count + 1)
        )
        timing = race({INGEST: chunks}, fed)[INGEST]
        made_of_last = (chunks.last_bytes / BATCH, len(chunks.last.records))
        times = (timing.best_ns, timing.median_ns, round(timing.best_rate))
        rows.append((f"{per_second:,}", *times, *made_of_last))
    columns = ("events a second of event time", "best ns/event", "median", "events/s at best")
    report.table("Ingest of events further apart", (*columns, "envelope B/event", "records a batch"), rows)


def _check(chunks: Chunks, fewest_rejects: int) -> None:
    """Refuse to time something that did not do its work."""
    found = chunks.last
    if found is None or found.events != BATCH or len(found.records) < len(PLAN.metrics):
        raise RuntimeError("ingest: expected an envelope of the whole batch, got another")
    if not fewest_rejects <= len(found.rejects) <= fewest_rejects * BATCH // 50:
        raise RuntimeError(f"ingest: expected other rejects, got {len(found.rejects)}")


def _judge(report: Report, result: Race) -> None:
    rate = result[INGEST].best_rate
    report.verdict(f"at least 1,000,000 events/s: {rate:,.0f} seen", rate >= GOAL)
    kept = result[INGEST_TORN].best_rate / rate
    report.verdict(f"with 1 % torn lines at least 80 % of that: {kept:.0%} seen", kept >= 0.8)
    others = (PARSER, POLARS, MSGSPEC, PYTHON)
    shares = ", ".join(f"{rate / result[name].best_rate:.2f} times {name}" for name in others)
    report.note(f"The speed of ingest beside others': {shares}.")


class _Position:
    """Says where a payload is from, as the file source does."""

    def __init__(self, payloads: Payloads) -> None:
        self._payloads = payloads

    def __call__(self, row: int) -> dict[str, str | int]:
        return {"file": "events.json", "line": int(self._payloads.lines[row])}


if __name__ == "__main__":
    main()
