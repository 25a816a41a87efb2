"""The plan: metrics checked against the event's columns, defaults filled in, refusals that name the key."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from operators.metrics import all_kinds
from operators.plan import Plan
from operators.windows.slices import SessionWindow, TimeWindow


def plan(*metrics: dict[str, Any], **options: Any) -> dict[str, Any]:
    return {
        "name": "p",
        "event": {
            "fields": {"k": "string", "n": "long", "v": "double", "text": "string", "t": "long"},
            "derive": {name: {"from": "text", "extract": "(a)", "all": True} for name in ("tags", "more")},
            "time": {"field": "t", "unit": "ms"},
            "checks": ["v >= 0"],
        },
        "metrics": list(metrics),
        **options,
    }


def counting(**options: Any) -> dict[str, Any]:
    return {"name": "m", "kind": "count", "windows": [{"tumbling": "1m"}], **options}


def test_what_a_metric_leaves_out_is_the_pipelines_and_what_it_says_goes_before() -> None:
    given = plan(
        counting(),
        counting(name="own", allowed_lateness="0s", emit_every="1s", by=["k"]),
        counting(name="few", by=["k"], shards=3),
        allowed_lateness="1m",
        emit_every="10s",
    )
    resolved = Plan.model_validate(given).resolved_metrics()
    assert [(m.allowed_lateness_ms, m.emit_every_ms, m.shards) for m in resolved] == [
        (60_000, 10_000, 1),
        (0, 1_000, 8),
        (60_000, 10_000, 3),
    ]
    assert resolved[0].grid.allowed_lateness_ms == 60_000


def test_windows_over_time_share_a_grid_and_sessions_stand_alone() -> None:
    windows = [{"session": "5m"}, {"tumbling": "2m"}, {"sliding": "5m", "every": "1m"}, {"session": "1h"}]
    (metric,) = Plan.model_validate(plan(counting(windows=windows))).resolved_metrics()
    assert metric.grid.windows == (TimeWindow(120_000, 120_000), TimeWindow(300_000, 60_000))
    assert metric.sessions == (SessionWindow(300_000), SessionWindow(3_600_000))
    assert metric.late_sessions == SessionWindow(3_600_000)
    (alone,) = Plan.model_validate(plan(counting(windows=[{"session": "5m"}]))).resolved_metrics()
    assert alone.grid is None


def test_a_plan_comes_back_from_its_json() -> None:
    given = plan(
        counting(by=["tags", "k"], where="n > 1"),
        {"name": "f", "kind": "frequency", "of": "v", "ask": [1.0, 2.5], "windows": [{"session": "5m"}]},
        {"name": "g", "kind": "frequency", "of": "k", "ask": ["1", "true"], "windows": [{"session": "5m"}]},
    )
    before = Plan.model_validate(given)
    after = Plan.model_validate_json(before.model_dump_json(exclude_unset=True, by_alias=True))
    assert after == before
    assert [type(item) for item in after.metrics[1].ask + after.metrics[2].ask] == [float, float, str, str]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"by": ["w"]}, "metrics.m.by: there is no column 'w'; columns are k, more, n, t, tags, text, v"),
        ({"by": ["k", "k"]}, "metrics.m.by: expected different columns"),
        ({"by": ["tags", "more"]}, "metrics.m.by: expected different columns, one of them multi-valued"),
        ({"where": "n"}, "metrics.m.where"),
        ({"where": "w > 1"}, "metrics.m.where"),
        (
            {"windows": [{"tumbling": "1m"}, {"sliding": "1m", "every": "1m"}]},
            "metrics.m.windows: the same window",
        ),
        ({"windows": [{"tumbling": "1m"}, {"tumbling": "1m", "offset": "1m"}]}, "the same window"),
        ({"windows": [{"tumbling": "1d", "offset": "1ms"}]}, "metrics.m.windows: a window of 86400000 ms"),
        ({"windows": []}, "at least 1"),
        ({"kind": "mean"}, "kind"),
        ({"name": "a/b"}, "pattern"),
        ({"name": "a@b"}, "pattern"),
        ({"shards": 0}, "greater than or equal to 1"),
        ({"emit_every": "0s"}, "greater than 0"),
        ({"lg_k": 4}, "Extra inputs"),
    ],
)
def test_a_wrong_metric_is_refused_by_its_key(options, message) -> None:
    with pytest.raises(ValidationError, match=message):
        Plan.model_validate(plan(counting(**options)))


def test_two_metrics_of_one_name_are_refused() -> None:
    with pytest.raises(ValidationError, match="metrics: expected different names, got 'm' twice"):
        Plan.model_validate(plan(counting(), counting(by=["k"])))


def test_what_metrics_demand_of_an_event_is_checked_where_they_count_it() -> None:
    weighted = {"kind": "top_k", "of": "k", "weight": "n", "windows": [{"tumbling": "1m"}]}
    given = plan(
        weighted | {"name": "a"},
        weighted | {"name": "b"},
        weighted | {"name": "c", "where": "k = 'x' or v > 1"},
    )
    assert Plan.model_validate(given).event_with_checks().checks == (
        "v >= 0",
        "n >= 0",
        "not coalesce(k = 'x' or v > 1, false) or n >= 0",
    )


def test_every_kind_is_found_by_itself() -> None:
    assert list(all_kinds()) == [
        "count",
        "distinct",
        "first_seen",
        "frequency",
        "funnel",
        "last",
        "quantiles",
        "ratio",
        "stats",
        "sum",
        "top_k",
        "top_pairs",
        "trending",
    ]
