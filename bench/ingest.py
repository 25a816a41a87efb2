"""What ingest costs on one core: split, parse, slice and the partials of five metrics, beside other ways.

    python bench/ingest.py [--json] [--rounds 20] [--stages]

Every round has a fresh batch of 40,000 lines of about 100 bytes (4 MB, what the job reads of a file at a time);
no line comes twice. All ways get the same bytes in the same round:

- ingest: the job's own function, from the bytes of a chunk to the encoded envelope.
- ingest, 1 % torn: the same with every hundredth line cut short, each of which becomes a reject.
- our parser: splitting and parsing only, strict.
- polars: `read_ndjson` with a schema only; not strict, and one torn line makes the whole batch fail.
- msgspec: strict structs only.
- plain Python: msgspec structs and a loop that keeps the same five answers exactly, in sets and dicts.

Goals: a million events a second, or where the machine is slow 1.3 times as fast as a parser people would take
alone (polars); and with 1 % torn lines at least 80 % of the speed without.
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parent.parent)  # the packages, and no module of this folder

from bench.report.stopwatch import Race, pin_to_one_core, race

pin_to_one_core()

import msgspec
import polars as pl

from bench.report.events import BATCH, batches, torn
from bench.report.tables import Report, arguments
from operators.ingest import Ingest
from operators.parsing import make_parser
from operators.payloads import Payloads
from operators.plan import Plan
from operators.records import Envelope, encode
from operators.source_batch import SourceBatch

INGEST, INGEST_TORN, PARSER = "ingest", "ingest, 1 % torn", "our parser"
POLARS, MSGSPEC, PYTHON = "polars", "msgspec", "plain Python"
TORN = 0.01
GOAL = 1_000_000
SCHEMA = {"user_id": pl.String, "action": pl.String, "item_id": pl.String, "value": pl.Float64, "ts": pl.Int64}
PLAN = Plan.model_validate(
    {
        "name": "bench",
        "event": {
            "fields": {
                "user_id": "string",
                "action": "string",
                "item_id": "string",
                "value": "double",
                "ts": "long",
            },
            "time": {"field": "ts", "unit": "ms"},
            "out_of_orderness": "5s",
            "require": ["user_id", "action"],
            "checks": ["value >= 0"],
        },
        "metrics": [
            {
                "name": "unique_users",
                "kind": "distinct",
                "of": "user_id",
                "windows": [{"tumbling": "5m"}, {"sliding": "5m", "every": "1m"}],
            },
            {"name": "actions", "kind": "count", "by": ["action"], "windows": [{"tumbling": "1m"}]},
            {
                "name": "revenue",
                "kind": "sum",
                "of": "value",
                "where": "action = 'purchase'",
                "windows": [{"tumbling": "1m"}],
            },
            {"name": "top_items", "kind": "top_k", "of": "item_id", "windows": [{"tumbling": "1m"}]},
            {
                "name": "item_frequency",
                "kind": "frequency",
                "of": "item_id",
                "ask": ["item_1", "item_2"],
                "windows": [{"tumbling": "1m"}],
            },
        ],
    }
)


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
        self._ingest = Ingest(PLAN, "json", False, 1, True)
        self.last: Envelope | None = None

    def __call__(self, data: bytes) -> bytes:
        """Ingest one chunk."""
        payloads = Payloads.from_lines(data)
        source = SourceBatch(payloads, lambda row: {"file": "events.json", "line": int(payloads.lines[row])}, ("file",))
        _, self.last = self._ingest.take(source, 0)
        return encode(self.last)


class PlainPython:
    """The same five metrics by minute, exactly, in a loop over structs."""

    def __init__(self) -> None:
        """Hold nothing yet."""
        self._decode = msgspec.json.Decoder(Event).decode
        self._users: dict[int, set[str]] = defaultdict(set)
        self._actions: dict[int, Counter[str]] = defaultdict(Counter)
        self._items: dict[int, Counter[str | None]] = defaultdict(Counter)
        self._revenue: dict[int, float] = defaultdict(float)

    def __call__(self, data: bytes) -> None:
        """Count one chunk."""
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
    parser = arguments(__doc__ or "", rounds=20)
    parser.add_argument("--stages", action="store_true", help="time the steps within ingest too")
    options = parser.parse_args()
    report = Report("Ingest on one core: five metrics of JSON events", options.json)
    ways, chunks, torn_chunks = _ways()
    result = race(ways, rounds(options.rounds + 2), warm_up=2)
    report.race(f"Fresh batches of {BATCH:,} lines", result, "event", POLARS)
    _check(chunks, 0)
    _check(torn_chunks, 1)
    _judge(report, result)
    if options.stages:
        from bench.report.stages import stages

        report.race("Steps of ingest", stages(PLAN, options.rounds), "event", "whole")
    report.finish()


def rounds(count: int) -> Iterator[tuple[int, dict[str, object]]]:
    """Make the chunk of each round: one for all, one with torn lines."""
    for number, lines in enumerate(batches(count)):
        whole = b"\n".join(lines)
        yield BATCH, dict.fromkeys((INGEST, PARSER, POLARS, MSGSPEC, PYTHON), whole) | {
            INGEST_TORN: b"\n".join(torn(lines, TORN, number))
        }


def _ways() -> tuple[dict[str, object], Chunks, Chunks]:
    chunks, torn_chunks = Chunks(), Chunks()
    ours = make_parser("json", {name: (field.path, field.type) for name, field in PLAN.event.fields.items()})
    decode = msgspec.json.Decoder(Event).decode
    ways = {
        INGEST: chunks,
        INGEST_TORN: torn_chunks,
        PARSER: lambda data: ours.parse(Payloads.from_lines(data)),
        POLARS: lambda data: pl.read_ndjson(data, schema=SCHEMA),
        MSGSPEC: lambda data: [decode(line) for line in data.split(b"\n")],
        PYTHON: PlainPython(),
    }
    return ways, chunks, torn_chunks


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
    for other in (POLARS, PARSER):
        ratio = rate / result[other].best_rate
        report.verdict(f"or at least 1.3 times {other} alone: {ratio:.2f} seen", ratio >= 1.3)
    kept = result[INGEST_TORN].best_rate / rate
    report.verdict(f"with 1 % torn lines at least 80 % of that: {kept:.0%} seen", kept >= 0.8)


if __name__ == "__main__":
    main()
