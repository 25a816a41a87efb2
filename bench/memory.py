"""What the answers of a day cost in memory: as sketches, and exactly in sets, dicts and arrays.

    python bench/memory.py [--json] [--rounds 3] [--users 10000 100000 1000000 2000000]

One yardstick for both sides: bytes of process memory, by how much the process's own resident pages (resident
less shared, `/proc/self/statm`) grow while a fresh child process builds nothing but what it is to hold. Small
things are held in many copies and the growth divided. Of the rounds the least counts.

- Sketches: the keyed state of the job, entry by entry as it hands them to RocksDB, in dicts of bytes.
- Exact: what a careful Python program holds; a user id is one string however many sets it is in.

Both hold the same answers over one day: users today, users by action, the top items and the frequency of any
item, and quantiles of the value. Every user has three events. Goal: 40 times less from a million users on.
Apart from these, what sketches are worse at: the users of each of 5,000 items, a small set each.
"""

from __future__ import annotations

import ctypes
import gc
import json
import subprocess
import sys
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from zlib import crc32

ROOT = Path(__file__).resolve().parent.parent
PAGE = 4096
EVENTS_A_USER = 3
ACTIONS = ("view", "view", "view", "view", "view", "view", "cart", "cart", "search", "purchase")
ITEMS = 5_000
ASKED = "item_42"
ALL = "all together"
BY_ITEM = "users by item"
METRICS = {
    "users today": ("users_today",),
    "users by action": ("users_by_action",),
    "top items and frequency": ("top_items", "item_frequency"),
    "quantiles": ("value_quantiles",),
    ALL: ("users_today", "users_by_action", "top_items", "item_frequency", "value_quantiles"),
    BY_ITEM: ("users_by_item",),
}
GOAL = 40
GOAL_USERS = 1_000_000
Event = tuple[str, str, float]


def main() -> None:
    """Run every measurement, or what a child process is asked to."""
    if sys.argv[1:2] == ["hold"]:
        _hold(*sys.argv[2:])
        return
    sys.path.insert(0, str(ROOT))
    from bench.report.tables import Report, arguments

    parser = arguments(__doc__ or "", rounds=3)
    parser.add_argument("--users", type=int, nargs="+", default=[10_000, 100_000, 1_000_000, 2_000_000])
    options = parser.parse_args()
    report = Report("Memory of a day's answers: sketches beside exact sets", options.json)
    rows = []
    with TemporaryDirectory() as folder:
        for users in options.users:
            files, answers = _sketches(users, Path(folder))
            parts = METRICS if users == GOAL_USERS else (ALL,)
            found = {part: _side_by_side(part, users, files[part], options.rounds) for part in parts}
            rows.append((f"{users:,}", *found[ALL][1:]))
            if users == GOAL_USERS:
                columns = ("answer", "exact B", "sketches B", "times less")
                report.table(f"{users:,} users, answer by answer", columns, list(found.values()))
                _compare(report, users, answers)
    report.table("All answers together", ("users", "exact B", "sketches B", "times less"), rows)
    for users, row in zip(options.users, rows, strict=True):
        if users >= GOAL_USERS:
            text = f"{users:,} users: at least {GOAL} times less, {row[-1]:,.0f} times seen"
            report.verdict(text, row[-1] >= GOAL)
    report.finish()


def events_of(user: int) -> Iterator[Event]:
    """Give a user's events: action, item and value."""
    for number in range(EVENTS_A_USER):
        mixed = crc32(b"%d" % (user * EVENTS_A_USER + number))
        yield ACTIONS[mixed % 10], f"item_{mixed // 10 % ITEMS}", mixed // 100 % 10_000 / 100


def exact(answer: str, users: int) -> tuple[object, ...]:
    """Build what an exact program holds.

    Args:
        answer: one of `METRICS`.
        users: how many there are.

    Returns:
        Set of users, sets of users by action and by item, counts of items, values; empty where the answer has
        no use for them.
    """
    wanted = {name: answer == name or (answer == ALL and name != BY_ITEM) for name in METRICS}
    today: set[str] = set()
    by_action: dict[str, set[str]] = {action: set() for action in set(ACTIONS)}
    by_item: dict[str, set[str]] = defaultdict(set)
    items: Counter[str] = Counter()
    values = array("d")
    for number in range(users):
        user = f"user_{number:07d}"
        if wanted["users today"]:
            today.add(user)
        for action, item, value in events_of(number):
            if wanted["users by action"]:
                by_action[action].add(user)
            if wanted[BY_ITEM]:
                by_item[item].add(user)
            if wanted["top items and frequency"]:
                items[item] += 1
            if wanted["quantiles"]:
                values.append(value)
    return today, by_action, by_item, items, values


def _side_by_side(answer: str, users: int, file: Path, rounds: int) -> tuple[str, int, int, float]:
    # Two million strings cannot be off by much; a thousand can, so they are held more than once.
    copies = max(1, 1_000_000 // users)
    held = _least(rounds, "sketches", answer, str(file), str(max(1, 50_000_000 // file.stat().st_size)))
    whole = _least(1 if users >= GOAL_USERS else rounds, "exact", answer, str(users), str(copies))
    return answer, whole, held, whole / held


def _least(rounds: int, *what: str) -> int:
    command = [sys.executable, __file__, "hold", *what]
    return min(
        int(subprocess.run(command, check=True, capture_output=True, text=True).stdout) for _ in range(rounds)
    )


def _hold(side: str, answer: str, of: str, copies: str) -> None:
    """Hold one side in this process and print the growth of its memory, a copy."""
    make: Callable[[], object] = partial(_read_entries, of)
    if side == "exact":
        make = partial(exact, answer, int(of))
    before = _own_bytes()
    held = [make() for _ in range(int(copies))]
    print((_own_bytes() - before) // len(held))


def _own_bytes() -> int:
    """Return the resident bytes that are this process's own, once free memory was given back."""
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)
    resident, shared = Path("/proc/self/statm").read_text().split()[1:3]
    return (int(resident) - int(shared)) * PAGE


def _read_entries(file: str) -> dict[bytes, bytes]:
    entries = {}
    with open(file, "rb", buffering=0) as stream:
        while head := stream.read(8):
            key = stream.read(int.from_bytes(head[:4], "little"))
            entries[key] = stream.read(int.from_bytes(head[4:], "little"))
    return entries


def _sketches(users: int, folder: Path) -> tuple[dict[str, Path], dict[str, dict[str, object]]]:
    """Run the job's partials and merges over all events; return files of state, and answers by metric."""
    from bench.report.day import sketch_day

    held = sketch_day(users, events_of, leave_out=() if users == GOAL_USERS else METRICS[BY_ITEM])
    entries = {metric: sketches.entries() for metric, sketches in held.items()}
    files = {}
    for answer, metrics in METRICS.items():
        files[answer] = folder / f"{users}-{len(files)}"
        with files[answer].open("wb") as stream:
            for key, value in (entry for metric in metrics for entry in entries.get(metric, {}).items()):
                stream.write(len(key).to_bytes(4, "little") + len(value).to_bytes(4, "little") + key + value)
    return files, {metric: sketches.answers() for metric, sketches in held.items()}


def _compare(report: object, users: int, answers: dict[str, dict[str, object]]) -> None:
    """Show the exact answers beside those of the sketches."""
    today, by_action, _, items, values = exact(ALL, users)
    rows = [("users today", len(today), answers["users_today"]["[]"])]
    rows += [
        (f"users who {action}", len(members), answers["users_by_action"][json.dumps([action])])
        for action, members in sorted(by_action.items())
    ]
    (asked,) = answers["item_frequency"]["[]"]["items"]
    rows.append((f"events of {ASKED}", items[ASKED], {"value": asked["count"], **asked}))
    median = answers["value_quantiles"]["[]"]["quantiles"]["0.5"]
    rows.append(("median value", sorted(values)[(len(values) - 1) // 2], median))
    table = [
        (name, true, said["value"], said["lower"], said["upper"], f"{abs(said['value'] - true) / true:.2%}")
        for name, true, said in rows
    ]
    columns = ("answer", "exact", "sketches", "lower", "upper", "off by")
    report.table(f"{users:,} users: what they answer", columns, table)


if __name__ == "__main__":
    main()
