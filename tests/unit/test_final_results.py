"""What windows send to rules on results."""

from __future__ import annotations

import json

from engine import at, counting_plan
from operator_chain import Operators
from rule_inputs import shard_of_result

from operators.plan import Plan

WINDOWS = {"tumbling": "1m"}, {"sliding": "2m", "every": "1m"}, {"session": "90s"}


def send(operators: Operators, *events: dict[str, object]) -> None:
    operators.send(*(json.dumps(event).encode() for event in events))


def test_final_results_go_to_rules_by_shard_all_of_one_call_together() -> None:
    plan = Plan.model_validate(counting_plan(*WINDOWS, allowed_lateness="2m"))
    operators = Operators(plan, for_rules=True)
    for minute in range(6):
        send(operators, *(event for key in map(str, range(40)) for event in at(minute, key=key)))
    send(operators, *at(3.5, 3.2, key="7"))
    operators.end()
    metrics = {metric.name: metric for metric in plan.resolved_metrics()}
    sent = [(shard, json.loads(line)) for shard, lines in operators.final for line in lines]
    assert all(shard == shard_of_result(metrics, one) for shard, one in sent)
    assert len({shard for shard, _ in sent}) == 8
    for shard in {shard for shard, _ in sent}:
        own = [one for to, one in sent if to == shard]
        assert own == [one for one in operators.results if shard_of_result(metrics, one) == shard]
    assert {one["revision"] for _, one in sent} == {0, 1}
    assert len(operators.final) < len(sent) / 4


def test_early_results_do_not_go_to_rules() -> None:
    plan = Plan.model_validate(counting_plan({"tumbling": "1m"}, emit_every="1s"))
    operators = Operators(plan, for_rules=True)
    send(operators, *at(0.1, 0.2, key="a"))
    operators.pass_time(1000)
    assert [one["final"] for one in operators.results] == [False] and operators.final == []
    operators.end()
    ((_, lines),) = operators.final
    assert [json.loads(line)["revision"] for line in lines] == [1]


def test_no_record_has_more_than_five_hundred_results() -> None:
    plan = Plan.model_validate(counting_plan({"tumbling": "1s"}, shards=1))
    operators = Operators(plan, for_rules=True)
    send(operators, *({"k": "a", "t": 1000 * second} for second in range(1200)))
    operators.end()
    sizes = [len(lines) for _, lines in operators.final]
    assert sizes[:2] == [500, 500] and sum(sizes) == 1200


def test_where_there_are_no_rules_nothing_is_sent_to_them() -> None:
    operators = Operators(Plan.model_validate(counting_plan({"tumbling": "1m"})))
    send(operators, *at(0.1))
    operators.end()
    assert len(operators.results) == 1 and operators.final == []
