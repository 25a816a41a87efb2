"""Enriched events against dictionaries and sets: order, nulls, texts, conditions, restarts, history."""

from __future__ import annotations

import json
import random
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest
from engine import Engine, ShardedMap
from pydantic import ValidationError

from operators.enrich.enrich_function import new_users
from operators.enrich.enrich_records import STREAM
from operators.enrich.enriched_lines import KEY_MARK, enriched_lines
from operators.enrich.running import MOST_TOTALS, Running
from operators.first_seen.seen_shards import SeenShards
from operators.ingest.ingest import Ingest
from operators.ingest.source_batch import SourceBatch
from operators.parsing.payloads import Payloads
from operators.plan import Plan
from operators.records import decode_annotated, decode_enrich, encode
from operators.shard_keys import stream_of

FIELDS = {"user": "string", "action": "string", "value": "double", "n": "long", "t": "long"}


def plan(**enrich: Any) -> Plan:
    options = {"user": "user", "action": "action", "value": "value", "exact": True, **enrich}
    return Plan.model_validate(
        {
            "name": "shop",
            "event": {"fields": FIELDS, "time": {"field": "t", "unit": "ms"}},
            "metrics": [{"name": "n", "kind": "count", "windows": [{"tumbling": "1m"}]}],
            "enrich": options,
        }
    )


class Enricher:
    """Ingest and both operators of enriching, over maps that outlive it."""

    def __init__(self, plan: Plan, running: ShardedMap, seen: ShardedMap) -> None:
        self._user = plan.enrich.user
        self._ingest = Ingest(plan, "json", False, True, False)
        self._running, self._seen = Running(plan.enrich, running), seen
        type_ = plan.event.column_types()[plan.enrich.user]
        self._shards = SeenShards(plan.enrich, plan.enrich.user, type_, seen)

    def send(self, *events: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the enriched events of a batch, shard by shard."""
        return [json.loads(line) for line in self.lines(*events)]

    def lines(self, *events: dict[str, Any], with_keys: bool = False) -> list[str]:
        """Return the lines of a batch, shard by shard."""
        payloads = Payloads.from_messages([json.dumps(event).encode() for event in events])
        _, envelope = self._ingest.take(SourceBatch(payloads, lambda i: {"offset": i}, ("p",)), 0)
        lines = []
        for key, data in envelope.records:
            if stream_of(key) == STREAM:
                annotated = encode(self._running.on_record(decode_enrich(data)))
                self._seen.shard = key
                record = decode_annotated(annotated)
                is_new = new_users(self._shards, key, record)
                lines += enriched_lines(record, is_new, self._user if with_keys else None).split("\n")
        return lines


def enricher(**enrich: Any) -> Enricher:
    return Enricher(plan(**enrich), ShardedMap(), ShardedMap())


def event(user: str | None, action: str | None = "view", value: float | None = 1.0, **more: Any) -> dict:
    return {"user": user, "action": action, "value": value, "n": 1, "t": 0, **more}


def test_an_event_comes_out_with_its_own_fields_and_what_is_known_by_then() -> None:
    assert enricher(value_shards=1).send(event("ann", "buy", 2.5), event("ann", "buy", 0.5, n=7)) == [
        event("ann", "buy", 2.5)
        | {"is_new_user": True, "unique_users_est": 1, "buy_count_est": 1, "value_buy": 2.5},
        event("ann", "buy", 0.5, n=7)
        | {"is_new_user": False, "unique_users_est": 1, "buy_count_est": 2, "value_buy": 3.0},
    ]


@pytest.mark.parametrize("seed", range(4))
def test_estimates_are_those_of_sets_and_counters_also_across_restarts(seed: int) -> None:
    chance, running, seen = random.Random(seed), ShardedMap(), ShardedMap()
    shape = plan()
    users: set[str] = set()
    counts: Counter[str] = Counter()
    totals: dict[str, float] = defaultdict(float)
    for _ in range(12):
        one = Enricher(shape, running, seen)  # a new process over the same state
        sent = [
            event(
                chance.choice([None, *(f"user {n}" for n in range(60))]),
                chance.choice([None, "view", "cart", 'b"uy\n']),
                chance.choice([None, 0.25, 3.0]),
                n=number,
            )
            for number in range(chance.randrange(1, 80))
        ]
        came = one.send(*sent)
        assert sorted(e["n"] for e in came) == list(range(len(sent)))
        by_user: dict[str | None, list[int]] = defaultdict(list)
        for enriched in came:
            user, action = enriched["user"], enriched["action"]
            by_user[user].append(enriched["n"])
            assert enriched["is_new_user"] == (None if user is None else user not in users)
            users |= {user} - {None}
            names = {name for name in enriched if name.endswith("_count_est") or name.startswith("value_")}
            assert names == (set() if action is None else {f"{action}_count_est", f"value_{action}"})
            if action is not None:
                counts[action] += 1
                totals[action] += enriched["value"] or 0.0
                assert enriched[f"{action}_count_est"] == counts[action]
                assert enriched[f"value_{action}"] == totals[action]
        # Each user's events keep their order, and the last record has seen all users.
        assert all(numbers == sorted(numbers) for numbers in by_user.values())
        assert came[-1]["unique_users_est"] == len(users)


def test_only_what_meets_the_condition_is_enriched_and_counted() -> None:
    one = enricher(where="action = 'buy'", value_shards=1)
    came = one.send(event("ann"), event("ann", "buy"), event("bob", None), event("ann", "buy"))
    assert [e["is_new_user"] for e in came] == [True, False]
    assert [e["buy_count_est"] for e in came] == [1, 2]


def test_without_action_and_value_only_users_are_told() -> None:
    (came,) = enricher(action=None, value=None).send(event("ann"))
    assert came == event("ann") | {"is_new_user": True, "unique_users_est": 1}


def test_lines_carry_their_user_for_a_topic_and_are_the_same_lines() -> None:
    users = ["ann", None, "", "J\u00fcrgen \u201c1\u201d", 'CORP\\"x"', "two\nlines", "\x1f\x1fmarks", "ann"]
    batch = [event(user, 'b"\x1f\n', n=number) for number, user in enumerate(users)]
    plain, keyed = enricher().lines(*batch), enricher().lines(*batch, with_keys=True)
    assert [line.partition(KEY_MARK)[0] for line in keyed] == plain
    keys = {}
    for line in keyed:
        text, mark, key = line.partition(KEY_MARK)
        keys[json.loads(text)["n"]] = key if mark else None
    expected = [*users[:5], "two lines", "  marks", "ann"]
    assert keys == dict(enumerate(expected))


@pytest.mark.parametrize(
    ("column", "user", "key"), [("n", 7, "7"), ("value", 2.5, "2.5"), ("value", -0.0, "0.0")]
)
def test_a_user_that_is_a_number_is_a_key_as_text(column: str, user: float, key: str) -> None:
    options = {"user": column, "action": None, "value": None}
    (line,) = enricher(**options).lines(event("ann") | {column: user}, with_keys=True)
    assert line.partition(KEY_MARK)[2] == key


def test_totals_of_more_actions_than_are_kept_are_left_out_and_counts_go_on() -> None:
    one = enricher(value_shards=1)
    one.send(*(event("ann", f"action {number}") for number in range(MOST_TOTALS)))
    kept, left = one.send(event("ann", "action 0"), event("ann", "one more"))
    assert kept["value_action 0"] == 2.0
    assert "value_one more" not in left and left["one more_count_est"] >= 1


def test_totals_beyond_the_range_of_doubles_are_null_until_they_fit_again() -> None:
    one = enricher(value_shards=1)
    huge = [event("ann", "pay", value) for value in (1.7e308, 1.7e308, -1.7e308, -1.7e308, 0.5)]
    for _ in range(2):
        came = one.send(*huge[:4])
        assert [e["value_pay"] for e in came] == [1.7e308, None, 1.7e308, 0.0]
    assert [e["value_pay"] for e in one.send(*huge[:2])] == [1.7e308, None]
    assert [e["value_pay"] for e in one.send(*huge[2:])] == [1.7e308, 0.0, 0.5]


def test_large_totals_of_one_action_leave_those_of_others_as_they_are() -> None:
    sent = [("pay", 2**63 - 1), ("tip", 1), ("pay", 2**63 - 1), ("tip", 2)]
    came = enricher(value_shards=1, value="n").send(*(event("ann", action, n=n) for action, n in sent))
    totals = [e[f"value_{e['action']}"] for e in came]
    assert totals == [2.0**63, 1.0, 2.0**64, 3.0]


def test_users_of_history_are_known_from_the_beginning(tmp_path: Path) -> None:
    path = tmp_path / "users.jsonl"
    path.write_text("".join(json.dumps({"id": f"user {n}"}) + "\n" for n in range(1000)))
    one = enricher(history={"path": str(path), "field": "id"})
    came = one.send(*(event(f"user {n}") for n in range(0, 2000, 100)))
    assert sorted(e["user"] for e in came if e["is_new_user"]) == sorted(
        f"user {n}" for n in range(1000, 2000, 100)
    )


def test_history_of_first_seen_is_csv_too_and_a_bad_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "users.csv"
    path.write_text("customer,since\nann,1\nbob,2\n")
    metric = {
        "name": "visitors",
        "kind": "first_seen",
        "of": "user",
        "history": {"path": str(path), "field": "customer", "format": "csv"},
        "windows": [{"tumbling": "1m"}],
    }
    event_section = {"fields": FIELDS, "time": {"field": "t", "unit": "ms"}}
    shape = {"name": "shop", "event": event_section, "metrics": [metric]}
    engine = Engine(shape, follow=True)
    engine.send(event("ann"), event("eve"), event("bob"))
    engine.end()
    assert [(r["new"], r["returning"]) for r in engine.results] == [(1, 2)]
    path.write_text("customer,since\nann,1\nbob\n")
    with pytest.raises(ValueError, match=r"users.csv, line 3: too_few_fields"):
        Engine(shape)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"user": "who"}, "enrich.user: there is no column 'who'"),
        ({"action": "n"}, "enrich.action: enrich takes string, but column 'n' is long"),
        ({"value": "action"}, "enrich.value: enrich takes long or double"),
        ({"action": None}, "enrich.value: is added up by action, so action is needed too"),
        ({"where": "n"}, "enrich.where: "),
        ({"history": {"path": "x"}, "remember": "1d"}, "history: its values have no time"),
    ],
)
def test_a_wrong_section_is_refused_by_key(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        plan(**options)


def test_totals_of_actions_are_exact_whatever_other_actions_add_and_left_out_while_beyond_doubles() -> None:
    """Those of each action against its own exact sum; a large one beside it makes no difference."""
    job, huge = enricher(value_shards=1), 1.7e308
    adds = [("buy", huge), ("view", 1.0), ("buy", huge), ("view", 2.0), ("buy", -huge), ("buy", -huge)]
    lines = job.send(*(event("ann", action, value) for action, value in adds))
    lines += job.send(event("ann", "view", 0.5), event("ann", "buy", huge), event("ann", "buy", huge))
    assert [line.get(f"value_{line['action']}") for line in lines] == [
        huge, 1.0, None, 3.0, huge, 0.0, 3.5, huge, None,
    ]  # fmt: skip
    assert job.send(event("ann", "buy", -huge))[0]["value_buy"] == huge
