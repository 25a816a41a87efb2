"""Sensors as the pipeline is shipped: simulated ones, and real series with labelled anomalies, on Flink."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import duckdb
import pytest
from cluster_runs import Finished, run_pipeline, shipped_pipeline
from exact_answers import compare
from numenta import DAY_MS, HOUR_MS, drifts, in_one_stream, read_series, window_means, write_csv

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(840)]

SHORT = ("machine", "cpu")
# Found, labelled, false: what the rule gives where it is run by itself.
DRIFT = {
    "machine": (4, 4, 2),
    "taxi": (5, 5, 17),
    "ambient": (2, 2, 18),
    "cpu": (1, 1, 2),
    "twitter": (3, 4, 1),
}


def load_readings(database: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Make the table of events that the pipeline accepts."""
    database.execute(
        """
        CREATE TABLE events AS
        WITH readings AS (
            SELECT epoch_ms(time) AS time_ms, sensor, kind, try_cast(value AS DOUBLE) AS value
            FROM read_csv(?, header = true, columns = {
                time: 'TIMESTAMP', sensor: 'VARCHAR', kind: 'VARCHAR', value: 'VARCHAR'}))
        SELECT * FROM readings WHERE CASE kind
            WHEN 'temperature' THEN value >= -273.15
            WHEN 'humidity' THEN value <= 100
            WHEN 'pressure' THEN value >= 0
            WHEN 'heart_rate' THEN value <= 350
            ELSE value IS NOT NULL END
        """,
        [str(path)],
    )


def spoken(alerts: Iterable[Mapping[str, Any]]) -> list[tuple[str, str, str]]:
    """Rule, sensor and status of each alert, by rule and time."""
    ordered = sorted(alerts, key=lambda alert: (alert["rule"], alert["event_time_ms"]))
    return [(alert["rule"], alert["key"]["sensor"], alert["status"]) for alert in ordered]


def each_once(run: Finished) -> list[dict[str, Any]]:
    """The alerts, one of each: they come at least once."""
    return list({(alert["id"], alert["status"]): alert for alert in run.alerts}.values())


def test_stats_of_the_simulated_sensors_are_exact_and_rules_tell_what_is_wrong_with_them(
    project_root: Path, tmp_path: Path, database: duckdb.DuckDBPyConnection
) -> None:
    path = project_root / "pipelines" / "sensors.csv.gz"
    pipeline = shipped_pipeline(project_root, "sensors.yaml", path=str(path))
    load_readings(database, path)

    run = run_pipeline(tmp_path, pipeline)

    assert run.late == [] and {reject["reason"] for reject in run.rejects} == {"wrong_type", "failed_check"}
    compared = compare(database, pipeline, run)
    assert compared.answers["by_5_minutes"] > 9_000 and compared.answers["by_day"] > 800
    assert spoken(each_once(run)) == [
        ("drift", "line", "firing"),
        ("heart_rate_out_of_range", "wearer", "firing"),
        ("heart_rate_out_of_range", "wearer", "resolved"),
        ("pressure_out_of_range", "line", "firing"),
        ("silent", "store", "firing"),
        ("silent", "store", "resolved"),
        ("temperature_out_of_range", "cold_room", "firing"),
        ("temperature_out_of_range", "cold_room", "resolved"),
    ]


def test_stats_of_real_series_are_exact_and_drift_finds_their_labelled_anomalies(
    project_root: Path, data_folder: Path, tmp_path: Path, database: duckdb.DuckDBPyConnection
) -> None:
    # All five are run through the operators without Flink in tests/unit/test_sensors.py.
    series = {name: one for name, one in read_series(data_folder).items() if name in SHORT}
    path = tmp_path / "readings.csv"
    write_csv(path, in_one_stream(series.values()))
    pipeline = shipped_pipeline(project_root, "sensors.yaml", path=str(path))
    pipeline["event"]["out_of_orderness"] = "1h"  # the machine's clock was put back by 55 minutes
    (drift,) = (rule for rule in pipeline["rules"] if rule["name"] == "drift")
    drift["parameters"]["least"]["value"] = 1  # each of these sends at a rate of its own
    pipeline["rules"] = [drift]
    # By five minutes most of these have one reading a window.
    pipeline["metrics"] = [metric for metric in pipeline["metrics"] if metric["name"] == drift["metric"]]
    load_readings(database, path)

    run = run_pipeline(tmp_path, pipeline)

    events = sum(len(one.values) for one in series.values())
    assert (run.outcome["events"], run.late, run.rejects) == (events, [], [])
    compared = compare(database, pipeline, run)
    assert compared.answers["by_day"] > 2_000
    for name, one in series.items():
        told = sorted(
            alert["event_time_ms"]
            for alert in each_once(run)
            if alert["status"] == "firing" and alert["key"]["sensor"] == name
        )
        assert told == drifts(*window_means(one, DAY_MS, HOUR_MS), 840, 1.75, 3, 0.875), name
        assert one.score(told).told() == DRIFT[name]
        assert one.score(told).is_good(), name
