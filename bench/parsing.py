"""What parsing costs: nanoseconds an event, the least of several repeats, beside two decoders people know.

    taskset -c 0 python bench/parsing.py

The decoders are `polars.read_ndjson` with a schema, which turns a number into a string without a word and
fails as a whole on one malformed line, and `msgspec` structs turned into columns, which are strict.
"""

from __future__ import annotations

import os

os.environ["POLARS_MAX_THREADS"] = "1"

import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import polars as pl

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from operators.parsing import CsvFormat, make_parser
from operators.parsing.json_parser import JsonParser
from operators.parsing.payloads import Payloads

FIELDS = {
    "user_id": ("user_id", "string"),
    "action": ("action", "string"),
    "item_id": ("item_id", "string"),
    "value": ("value", "double"),
    "ts": ("ts", "long"),
}
COLUMNS = {
    "user_id": pl.String,
    "action": pl.String,
    "item_id": pl.String,
    "value": pl.Float64,
    "ts": pl.Int64,
}
ACTIONS = ("view", "cart", "purchase", "search")
EVENTS = 40_000


class Event(msgspec.Struct, gc=False):
    """The event, for the decoder that is compared with."""

    user_id: str | None = None
    action: str | None = None
    item_id: str | None = None
    value: float | None = None
    ts: int | None = None


def lines(count: int, seed: int = 1) -> list[bytes]:
    """Makes lines of about 100 bytes: 100,000 users, no line twice."""
    chance = random.Random(seed)
    return [
        b'{"user_id":"user_%07d","action":"%s","item_id":"item_%d","value":%.2f,"ts":%d}'
        % (
            chance.randrange(100_000),
            chance.choice(ACTIONS).encode(),
            chance.randrange(10_000),
            chance.random() * 100,
            1_700_000_000_000 + 7 * i,
        )
        for i in range(count)
    ]


def measure(name: str, events: int, run: Callable[[], object], repeats: int = 15) -> None:
    """Prints the least time of some repeats."""
    least = float("inf")
    for _ in range(repeats):
        begin = time.perf_counter()
        run()
        least = min(least, time.perf_counter() - begin)
    print(f"{name:44s} {least / events * 1e9:9.0f} ns/event", flush=True)


def with_structs(batch: list[bytes]) -> pl.DataFrame:
    """Decodes with msgspec and turns the structs into columns."""
    decode = msgspec.json.Decoder(Event).decode
    events = [decode(line) for line in batch]
    return pl.DataFrame(
        {name: pl.Series([getattr(e, name) for e in events], dtype=dtype) for name, dtype in COLUMNS.items()}
    )


def main() -> None:
    """Runs every measurement."""
    batch = lines(EVENTS)
    joined = b"\n".join(batch)
    measure("polars.read_ndjson (not strict)", EVENTS, lambda: pl.read_ndjson(joined, schema=COLUMNS))
    measure("msgspec structs to columns", EVENTS, lambda: with_structs(batch))
    measure("Payloads.from_messages", EVENTS, lambda: Payloads.from_messages(batch))
    measure("Payloads.from_lines", EVENTS, lambda: Payloads.from_lines(joined))
    parser = make_parser("json", FIELDS)
    payloads = Payloads.from_messages(batch)
    measure("json", EVENTS, lambda: parser.parse(payloads))
    strict = JsonParser(FIELDS, many=False, fewest_to_scan=10**9)
    measure("json, all one by one", EVENTS, lambda: strict.parse(payloads))
    for share in (0.01, 1.0):
        chance = random.Random(2)
        torn = [line[: chance.randrange(1, len(line))] if chance.random() < share else line for line in batch]
        torn_payloads = Payloads.from_messages(torn)
        measure(f"json, {share:.0%} of the lines torn", EVENTS, lambda p=torn_payloads: parser.parse(p), 7)
    shuffled = Payloads.from_messages(
        [line.replace(b'"value":', b'"value": ') if i % 2 else line for i, line in enumerate(batch)]
    )
    measure("json, two layouts in turn", EVENTS, lambda: parser.parse(shuffled))
    cyrillic = Payloads.from_messages([line.replace(b"view", "просмотр".encode()) for line in batch])
    measure("json, a quarter not ASCII", EVENTS, lambda: parser.parse(cyrillic))
    many = Payloads.from_messages([b"\n".join(batch[i : i + 100]) for i in range(0, EVENTS, 100)])
    ndjson = make_parser("ndjson", FIELDS)
    measure("ndjson, 100 a message", EVENTS, lambda: ndjson.parse(many))
    records = [b",".join(part.split(b":")[1].strip(b'"}') for part in line.split(b",")) for line in batch]
    table = make_parser(CsvFormat(columns=tuple(FIELDS)), FIELDS)
    plain = Payloads.from_lines(b"\n".join(records), CsvFormat())
    measure("csv", EVENTS, lambda: table.parse(plain))
    quoted = Payloads.from_lines(b"\n".join(b'"' + r.replace(b",", b'",', 1) for r in records), CsvFormat())
    measure("csv, every record with quotes", EVENTS, lambda: table.parse(quoted), 5)
    for count in (1, 100, 500, 700, 1000, 2000, 10_000, 100_000):
        some = Payloads.from_messages(lines(count))
        measure(f"json, batches of {count:,}", count, lambda p=some: parser.parse(p))


if __name__ == "__main__":
    main()
