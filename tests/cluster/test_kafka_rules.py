"""Rules on a real cluster: changed by a topic, moved by verdicts, there again after kill -9 and rescaling."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from clusters import busy_task_manager, restarts, start, stop
from processes import Run, write_pipeline
from topics import CommittedReader, Message, make_topic, read_committed, send
from waiting import wait_for

from flink_job.cluster.rest import FlinkRest
from flink_job.standalone.broker import Broker
from flink_job.standalone.cluster import FlinkCluster

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(500)]

OUTPUTS = ("results", "late", "rejects", "alerts", "decisions", "audit")
RULES = [
    {"name": "large", "when": "amount > limit", "parameters": {"limit": {"value": 100}}, "decide": "block"},
    {"name": "velocity", "when": "payments > 3", "decide": "review"},
    {"name": "left", "when": "action = 'cart'", "unless": "action = 'buy'", "within": "10s"},
    {"name": "crowd", "metric": "arrivals", "when": "value >= 5"},
]
LARGER = RULES[0] | {"parameters": {"limit": {"value": 300, "min": 100, "max": 1000}}}


class Till:
    """Sends payments and reads what is decided about them.

    Args:
        address: the broker.
        decisions: reads the topic of decisions.
    """

    def __init__(self, address: str, decisions: CommittedReader) -> None:
        self._address, self._decisions, self._numbers = address, decisions, count()
        self._users = count()

    def pay(self, user: str, amount: float, action: str = "pay", times: int = 1) -> list[dict[str, Any]]:
        """Send payments of a user; return what was decided, in their order."""
        names = [f"p{next(self._numbers)}" for _ in range(times)]
        payment = {"user": user, "amount": amount, "action": action, "t": time.time_ns() // 10**6}
        send(self._address, "payments", [
            Message(json.dumps(payment | {"id": name}).encode(), sum(user.encode()) % 2, key=user.encode())
            for name in names
        ])  # fmt: skip
        self._decisions.read_until(lambda _: names[-1] in self._by_id(), f"the decision on {names[-1]}")
        return [self._by_id()[name] for name in names]

    def probe(self, amount: float) -> str:
        """Return what is decided about a payment of somebody who never paid before."""
        return self.pay(f"new{next(self._users)}", amount)[0]["decision"]

    def probe_until(self, amount: float, decision: str) -> None:
        """Pay until it is so decided; how soon a change takes effect is not promised."""
        wait_for(lambda: self.probe(amount) == decision, f"{decision} for {amount}", timeout_s=60)

    def _by_id(self) -> dict[str, dict[str, Any]]:
        return {decision["event_id"]: decision for decision in self._decisions.objects()}


def test_rules_change_while_the_job_runs_and_keep_what_they_know(
    runs: list[Run], broker: Broker, flink_cluster: FlinkCluster, tmp_path: Path
) -> None:
    address = broker.address
    make_topic(address, "payments", 2)
    make_topic(address, "rules", 1)
    make_topic(address, "verdicts", 1)
    write_pipeline(tmp_path, pipeline(address))
    with CommittedReader(address, "p-decisions") as decisions, CommittedReader(address, "p-alerts") as alerts:
        run = start(runs, tmp_path, flink_cluster)
        till = Till(address, decisions)
        assert [till.probe(amount) for amount in (100, 101)] == ["approve", "block"]
        assert [d["decision"] for d in till.pay("ann", 10, times=3)] == ["approve"] * 3
        till.pay("lea", 1, "cart")
        till.pay("ben", 1, "cart")
        till.pay("ben", 1, "buy")
        till.pay("crowd", 1, times=5)

        send(address, "rules", [Message(json.dumps(LARGER).encode(), key=b"large")])
        till.probe_until(250, "approve")
        (large,) = told(alerts, "large", 101)
        send(address, "rules", [Message(b'{"name": "odd", "when": "nothing > 1"}', key=b"odd")])
        verdict = {"rule": "large", "alert": large["id"], "verdict": "legitimate", "by": "eve"}
        send(address, "verdicts", [Message(json.dumps(verdict).encode()) for _ in range(2)])
        till.probe_until(305, "approve")  # 300 and a 25th, that is 5 % of 80 %, are 312
        assert till.probe(313) == "block"

        job = run.job()
        await_checkpoint(flink_cluster, job)
        os.kill(busy_task_manager(flink_cluster), signal.SIGKILL)
        flink_cluster.start_task_manager()
        wait_for(lambda: restarts(flink_cluster, job) >= 1, "a restart")
        assert till.pay("ann", 10)[0]["decision"] == "review"
        assert [till.probe(amount) for amount in (312, 313)] == ["approve", "block"]
        stop(run)

        again = start(runs, tmp_path, flink_cluster, "--from", "latest", "--set", "parallelism=1")
        assert till.pay("ann", 10)[0]["rules"] == [{"name": "velocity", "version": 1}]
        assert [till.probe(amount) for amount in (312, 313)] == ["approve", "block"]
        send(address, "rules", [Message(None, key=b"large")])
        till.probe_until(5000, "approve")
        stop(again)
        found = {(alert["id"], alert["status"]): alert for alert in alerts.read_all()}.values()
    assert sorted(a["values"]["payments"] for a in found if a["rule"] == "velocity") == [4, 4, 5, 5]
    of_large = [(a["values"]["amount"], a["version"]) for a in found if a["rule"] == "large"]
    # A payment before the change of a rule took effect may have raised an alert, by the version before.
    assert {(101, 1), (313, 3)} <= set(of_large) <= {(101, 1), (250, 1), (305, 2), (313, 3)}
    assert [a["key"]["user"] for a in found if a["rule"] == "left"] == ["lea"]
    assert next(a["status"] for a in found if a["rule"] == "crowd") == "firing"
    rejects = read_committed(address, "p-rejects")
    assert [(r["reason"], r["topic"], r["offset"]) for r in rejects] == [("bad_rule", "rules", 1)]
    audit = [(line["rule"], line["what"], line.get("by")) for line in read_committed(address, "p-audit")]
    assert Counter(audit) == Counter(
        [
            *((rule["name"], "from_file", None) for rule in RULES),
            ("large", "changed", None),
            ("large", "adjusted", "eve"),
            ("large", "ignored", "eve"),
            ("large", "removed", None),
        ]
    )


def told(alerts: CommittedReader, rule: str, amount: float) -> Iterator[dict[str, Any]]:
    """The alerts of a rule about payments of an amount, as soon as there is one."""

    def wanted(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [a for a in found if a["rule"] == rule and a["values"]["amount"] == amount]

    alerts.read_until(lambda found: bool(wanted(found)), f"an alert of {rule}")
    yield from wanted(alerts.objects())


def await_checkpoint(cluster: FlinkCluster, job: str) -> None:
    """Wait for a checkpoint that began after this was called: the second that ends from now on."""
    rest = FlinkRest(f"http://{cluster.address}")
    for _ in range(2):
        before = rest.checkpoints(job).latest
        wait_for(lambda before=before: rest.checkpoints(job).latest != before, "a checkpoint")


def pipeline(address: str) -> dict[str, Any]:
    return {
        "name": "pay",
        "parallelism": 2,
        "checkpoints": {"every": "500ms"},
        "source": {"type": "kafka", "brokers": address, "topic": "payments"},
        "event": {
            "fields": {"id": "string", "user": "string", "amount": "double", "action": "string", "t": "long"},
            "time": {"field": "t", "unit": "ms"},
            "out_of_orderness": "0s",
            "idle_timeout": "1s",
        },
        "metrics": [
            {"name": "arrivals", "kind": "count", "where": "user = 'crowd'", "windows": [{"tumbling": "1s"}]}
        ],
        "features": {
            "of": "user",
            "id": "id",
            "columns": {"payments": {"kind": "count", "within": "1h", "where": "action = 'pay'"}},
        },
        "rules": RULES,
        "decide": {},
        "rule_changes": {"topic": "rules"},
        "feedback": {"topic": "verdicts"},
        "sinks": {output: {"type": "kafka", "topic": f"p-{output}", "create": True} for output in OUTPUTS},
    }
