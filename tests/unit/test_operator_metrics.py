"""What the operators tell in Flink's metrics: against counts of what went in and what came out."""

from __future__ import annotations

import json
import random
import time
from collections import Counter, defaultdict
from typing import Any

import pytest
from engine import MAPS
from operator_chain import Group, Operators

from flink_job.cluster.rest import FlinkRest
from operators.plan import Plan
from operators.windows.gauges import MetricGauges, StateLooks
from operators.windows.runner import Held

MINUTE = 60_000
PLAN = Plan.model_validate(
    {
        "name": "shop",
        "event": {
            "fields": {"user": "string", "value": "double", "ms": "long"},
            "time": {"field": "ms", "unit": "ms"},
            "out_of_orderness": "0s",
            "require": ["user"],
            "checks": ["value >= 0", "value < 1000"],
        },
        "metrics": [
            {"name": "views", "kind": "count", "by": ["user"], "windows": [{"tumbling": "1m"}]},
            {"name": "visits", "kind": "count", "windows": [{"tumbling": "2m"}, {"session": "3m"}]},
        ],
    }
)


def event(user: str = "ann", minute: float = 0, value: float = 1) -> bytes:
    return json.dumps({"user": user, "value": value, "ms": int(minute * MINUTE)}).encode()


def test_each_batch_is_counted_with_its_events_rejects_and_time() -> None:
    running = Operators(PLAN)
    for size in (3, 50, 2):
        running.send(*(event(minute=n / 100) for n in range(size)), b"{")
    told = running.read()
    assert (told["events"], told["rejected"], told["batches"]) == (58, 3, 3)
    assert told["batch_events"] == 3
    assert 0 < told["ingest_us"] < 60_000_000
    assert told["partials"] == running.records > 0


def test_rejects_are_counted_by_reason_and_a_reason_that_never_came_is_not_there() -> None:
    running, bad = Operators(PLAN), {
        "malformed_json": b"{",
        "wrong_type": b'{"user": 1}',
        "missing_field": b'{"ms": 1}',
        "bad_time": b'{"user": "ann"}',
        "failed_check": event(value=-1),
    }  # fmt: skip
    chance, sent = random.Random(3), Counter()
    running.send(event())
    assert not [name for name in running.read() if "reason" in name]
    for _ in range(5):
        reasons = chance.choices(list(bad), k=40)
        sent.update(reasons)
        running.send(*(bad[reason] for reason in reasons), event(), event(value=2000))
        sent["failed_check"] += 1
    told = {n: v for n, v in running.read().items() if n.startswith("reason=")}
    assert told == {f"reason={reason}/rejected_by_reason": count for reason, count in sent.items()}
    assert running.read()["rejected"] == sum(sent.values()) == 205


def test_the_lag_is_that_of_the_newest_event_so_far_and_is_not_there_before_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("operators.ingest.ingest_function._now_ms", lambda: 100 * MINUTE)
    running = Operators(PLAN)
    running.send(b"{")
    assert "event_time_lag_ms" not in running.read()
    running.send(event(minute=90), event(minute=95), event(minute=80))
    assert running.read()["event_time_lag_ms"] == 5 * MINUTE
    running.send(event(minute=70))
    assert running.read()["event_time_lag_ms"] == 5 * MINUTE
    running.send(event(minute=101))
    assert running.read()["event_time_lag_ms"] == -MINUTE


def test_results_and_late_events_are_counted_by_metric_those_of_timers_too() -> None:
    running, chance = Operators(PLAN), random.Random(5)
    for minute in range(0, 200, 5):
        running.send(*(event(f"u{chance.randrange(4)}", minute - chance.randrange(30)) for _ in range(20)))
    running.end()
    told = running.read()
    for metric in ("views", "visits"):
        results = sum(result["metric"] == metric for result in running.results)
        late = sum(entry.get("events", 1) for entry in running.late if entry["metric"] == metric)
        assert told[f"metric={metric}/results"] == results > 0
        assert told[f"metric={metric}/late"] == late > 0


def test_late_events_count_one_by_one_where_their_payloads_are_gone() -> None:
    running = Operators(PLAN, begun_ms=time.time_ns() // 1_000_000)
    running.send(event(minute=10))
    running.move_watermark(60 * MINUTE)
    running.send(*(event(minute=10) for _ in range(5)))
    assert [(entry["metric"], entry["events"]) for entry in running.late] == [("views", 5), ("visits", 5)]
    told = running.read()
    assert (told["metric=views/late"], told["metric=visits/late"]) == (5, 5)


def test_open_windows_and_state_are_summed_over_the_shards_and_streams_of_a_metric(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("operators.windows.gauges._EVERY_S", 0.0)
    monkeypatch.setattr("operators.windows.gauges._SHARE", 1e9)
    running = Operators(PLAN)
    for minute in range(12):
        running.send(*(event(f"u{n % 30}", minute + n / 100) for n in range(90)))
        told, stored = running.read(), defaultdict(int)
        for sharded in running.context.maps.values():
            for shard, held in sharded.shards.items():
                stored[shard.partition("/")[0].partition("@")[0]] += sum(
                    len(key) + len(value) for key, value in held.items()
                )
        assert {m: told[f"metric={m}/state_bytes"] for m in ("views", "visits")} == dict(stored)
        # The newest event is 54 s into a minute: 30 users have a window of that minute, and there is one of
        # two minutes and one session.
        assert (told["metric=views/open_windows"], told["metric=visits/open_windows"]) == (30, 2)
    assert len({*running.context.maps, *running.gather_context.maps}) == len(MAPS)
    running.end()
    assert running.read()["metric=views/open_windows"] == running.read()["metric=visits/open_windows"] == 0


def test_what_changed_just_after_a_count_is_counted_a_second_later_though_nothing_comes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now_s = [0.0]
    monkeypatch.setattr("operators.windows.window_function.StateLooks", lambda: StateLooks(lambda: now_s[0]))
    running = Operators(PLAN)
    running.send(event(minute=0))
    for user in range(50):
        running.send(event(f"u{user}", 0.001))
    assert running.read()["metric=views/open_windows"] < 20
    now_s[0] = 2.0
    running.pass_time(2000)
    assert running.read()["metric=views/open_windows"] == 51
    assert running.timers[False] == set()


class Slow:
    """A runner whose count takes some time of a clock; what it holds is how often it was counted."""

    def __init__(self, clock: list[float], takes_s: float) -> None:
        self.clock, self.takes_s, self.looks = clock, takes_s, 0

    def held(self) -> Held:
        self.clock[0] += self.takes_s
        self.looks += 1
        return Held(self.looks, 10 * self.looks)


@pytest.mark.parametrize("shards", [1, 7, 60])
@pytest.mark.parametrize("takes_s", [0.0001, 0.01, 0.2])
def test_counting_takes_a_hundredth_of_the_time_and_every_shard_has_its_turn(
    shards: int, takes_s: float
) -> None:
    clock = [0.0]
    looks, gauges = StateLooks(lambda: clock[0]), MetricGauges(Group(), "views")
    runners = [Slow(clock, takes_s * (1 + n % 3)) for n in range(shards)]
    lasts_s, steps = max(60.0, 450 * sum(runner.takes_s for runner in runners)), 3000
    for _ in range(steps):
        for number, runner in enumerate(runners):
            looks.look(f"views/{number}", runner, gauges)
        clock[0] += lasts_s / steps
    spent = sum(runner.looks * runner.takes_s for runner in runners)
    assert spent <= 0.01 * clock[0] + 1 + 3 * takes_s
    assert max(runner.looks for runner in runners) <= clock[0] + 1
    assert min(runner.looks for runner in runners) >= max(3, 0.6 * max(r.looks for r in runners) - 1)
    assert (gauges.open_windows, gauges.state_bytes) == (
        sum(runner.looks for runner in runners),
        10 * sum(runner.looks for runner in runners),
    )


def test_a_long_quiet_is_not_paid_back_by_counting_all_the_time() -> None:
    clock = [0.0]
    looks, gauges, slow = StateLooks(lambda: clock[0]), MetricGauges(Group(), "views"), Slow(clock, 0.1)
    looks.look("views/0", slow, gauges)
    clock[0] = 100_000.0
    while clock[0] < 100_060:
        looks.look("views/0", slow, gauges)
        clock[0] += 0.25
    assert 10 <= slow.looks <= 1 + (1 + 0.6) / 0.1 + 1


def test_the_answer_to_a_look_that_came_too_early_is_when_it_is_not() -> None:
    clock = [5.0]
    looks, gauges, slow = StateLooks(lambda: clock[0]), MetricGauges(Group(), "views"), Slow(clock, 0.5)
    assert looks.look("views/0", slow, gauges) == 0
    wait_s = looks.look("views/0", slow, gauges)
    clock[0] += wait_s - 0.01
    assert (looks.look("views/0", slow, gauges), slow.looks) == (pytest.approx(0.01), 1)
    clock[0] += 0.02
    assert (looks.look("views/0", slow, gauges), slow.looks) == (0, 2)


def test_labelled_counters_are_summed_in_requests_that_flink_takes() -> None:
    asked: list[str] = []
    ids = [f"0.windows.metric.metric_number_{n:02}_with_a_long_name.results" for n in range(150)]

    class Rest(FlinkRest):
        def _get(self, path: str) -> Any:
            if "?get=" in path:
                asked.append(path)
                return [
                    {"id": name, "min": 1.0, "sum": 2.0} for name in path.partition("?get=")[2].split(",")
                ]
            return (
                [{"id": name} for name in (*ids, "0.busy")]
                if "metrics" in path
                else {"vertices": [{"id": "v"}]}
            )

    assert Rest("").counters("j", ("results", "late")) == {"results": 300}
    assert 1 < len(asked) < 6 and max(map(len, asked)) < 4000
    assert [i for path in asked for i in path.partition("?get=")[2].split(",")] == ids


@pytest.mark.parametrize(
    ("options", "least", "bytes_each"), [({"capacity": 1500}, 1470, 1), ({"exact": True}, 1500, 16)]
)
def test_values_that_are_remembered_are_counted_with_their_state_and_their_false_positives(
    options: dict[str, Any], least: int, bytes_each: int
) -> None:
    metric = {"name": "users", "kind": "first_seen", "of": "user", "windows": [{"tumbling": "1m"}]}
    plan = PLAN.model_dump(mode="json", by_alias=True, exclude_unset=True) | {"metrics": [metric | options]}
    running = Operators(Plan.model_validate(plan))
    for start in (0, 500, 500):
        running.send(*(event(f"user {n}", n / 1000) for n in range(start, start + 1000)))
    told = running.read()
    assert least <= told["metric=users/seen_values"] == len(running.first_seen) <= 1500
    held = [own for shard in running.context.maps["seen"].shards.values() for own in shard.items()]
    assert told["metric=users/seen_state_bytes"] == sum(len(key) + len(value) for key, value in held)
    assert told["metric=users/seen_state_bytes"] > 1500 * bytes_each
    assert (told["metric=users/seen_false_positive_ppm"] == 0) == ("exact" in options)
    assert told["metric=users/seen_false_positive_ppm"] <= 12_000
    assert told["partials"] == running.records
    running.end()
    assert sum(result["new"] for result in running.results) == len(running.first_seen)
    assert sum(result["events"] for result in running.results) + len(running.late) == 3000


def test_what_is_gathered_is_counted_with_its_state_and_its_late_events(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("operators.windows.gauges._EVERY_S", 0.0)
    monkeypatch.setattr("operators.windows.gauges._SHARE", 1e9)
    windows = [{"tumbling": "1m"}]
    steps = [{"name": "any", "where": "value >= 0"}, {"name": "big", "where": "value > 5"}]
    metrics = [
        {"name": "together", "kind": "top_pairs", "of": "value", "within": "user", "gap": "1m"},
        {"name": "far", "kind": "funnel", "of": "user", "steps": steps, "within": "2m", "exact": True},
    ]
    plan = PLAN.model_dump(mode="json", by_alias=True, exclude_unset=True)
    running = Operators(Plan.model_validate(plan | {"metrics": [m | {"windows": windows} for m in metrics]}))
    running.send(*(event(f"u{n % 30}", n / 100, n % 9) for n in range(90)))
    told = running.gather_context.group.read()
    stored: Counter[str] = Counter()
    for sharded in running.gather_context.maps.values():
        for shard, held in sharded.shards.items():
            stored[shard.partition("@")[0]] += sum(len(key) + len(value) for key, value in held.items())
    for metric in ("together", "far"):
        assert told[f"metric={metric}/gathered"] == 30
        assert told[f"metric={metric}/gathered_state_bytes"] == stored[metric] > 0
        assert told[f"metric={metric}/late"] == 0
    running.send(event("u1", 60))
    running.send(event("u2", 5), event("u3", 6))
    running.end()
    told = running.gather_context.group.read()
    assert [told[f"metric={m}/late"] for m in ("together", "far")] == [2, 2]
    assert [entry["metric"] for entry in running.late].count("far") == 2
    assert all(told[f"metric={m}/gathered"] == 0 for m in ("together", "far"))
    assert {
        m: sum(r["events"] for r in running.results if r["metric"] == m) for m in ("together", "far")
    } == {
        "together": 91,
        "far": 91,
    }
