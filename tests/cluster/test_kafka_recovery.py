"""Kafka in, Kafka out, on a cluster that loses processes, is stopped and rescaled: exactly once still."""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from clusters import busy_task_manager, cancel, restarts, start, stop, workers
from kafka import KafkaAdminClient
from processes import Run, write_pipeline
from shop import Shop, expect_exact, is_exact, pipeline
from topics import CommittedReader, Feed, Message, make_topic, read_committed, send
from waiting import wait_for

from flink_job.standalone.broker import Broker
from flink_job.standalone.cluster import FlinkCluster

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(600)]
BATCH = 4_000


def results_beyond(reader: CommittedReader, count: int) -> None:
    """Wait until there are more results than so many."""
    reader.read_until(lambda results: len(results) > count, f"more than {count} results")


def expect_rejects(rejects: list[dict[str, Any]], sent: list[Message]) -> None:
    """Hold the rejects against the torn messages, by where they are."""
    torn = {(m.partition, m.offset) for m in sent if m.value is not None and not m.value.endswith(b"}")}
    assert Counter((r["partition"], r["offset"]) for r in rejects) == Counter(torn)
    assert {r["reason"] for r in rejects} == {"malformed_json"}


def test_each_result_arrives_once_whatever_is_killed(
    runs: list[Run], broker: Broker, flink_cluster: FlinkCluster, tmp_path: Path
) -> None:
    """A TaskManager, a Python worker and the broker are lost one after another; a partition is added."""
    shop = Shop(4, seed=1)
    make_topic(broker.address, "kill", 4)
    write_pipeline(tmp_path, pipeline("kill", broker.address, "kill", allowed_lateness="5m"))
    feed = Feed(broker.address, "kill", lambda: shop.messages(40), every_s=0.1)
    with feed, CommittedReader(broker.address, "kill-results") as reader:
        run = start(runs, tmp_path, flink_cluster, "--detach")
        assert run.wait() == 0, run.err
        job = run.job()
        results_beyond(reader, 0)

        os.kill(busy_task_manager(flink_cluster), signal.SIGKILL)
        flink_cluster.start_task_manager()
        wait_for(lambda: restarts(flink_cluster, job) >= 1, "a restart after the loss of a TaskManager")
        results_beyond(reader, len(reader.read_all()))

        before = restarts(flink_cluster, job)
        os.kill(workers(busy_task_manager(flink_cluster))[0], signal.SIGKILL)
        wait_for(lambda: restarts(flink_cluster, job) > before, "a restart after the loss of a worker")
        if len(flink_cluster.task_managers) < 2:  # the loss of a worker may take the JVM with it
            flink_cluster.start_task_manager()
        results_beyond(reader, len(reader.read_all()))

        KafkaAdminClient(bootstrap_servers=broker.address).create_partitions({"kill": 5})
        broker.stop()
        broker.start()
        wait_for(lambda: feed.partitions() == 5, "the producer to know the new partition")
        shop.partitions = 5
        results_beyond(reader, len(reader.messages))
        sent = feed.stop()
        send(broker.address, "kill", shop.last_messages())
        reader.read_until(lambda results: is_exact(shop, results), "the exact results", timeout_s=180)
        results = reader.read_all()
    cancel(flink_cluster, job)
    assert shop.bad > 0
    expect_exact(shop, results)
    assert read_committed(broker.address, "kill-late") == []
    expect_rejects(read_committed(broker.address, "kill-rejects"), sent)


def test_a_job_stopped_with_a_savepoint_goes_on_with_another_parallelism(
    runs: list[Run], broker: Broker, flink_cluster: FlinkCluster, tmp_path: Path
) -> None:
    shop, sent = Shop(3, seed=2), []
    make_topic(broker.address, "scale", 3)
    write_pipeline(tmp_path, pipeline("scale", broker.address, "scale"))
    with CommittedReader(broker.address, "scale-results") as reader:
        again: tuple[str, ...] = ()
        for parallelism in (2, 1, 2):
            sent += send(broker.address, "scale", shop.messages(BATCH))
            run = start(runs, tmp_path, flink_cluster, f"--set=parallelism={parallelism}", *again)
            results_beyond(reader, len(reader.read_all()))
            if parallelism == 2 and again:
                break
            stop(run)
            again = ("--from", "latest")
        sent += send(broker.address, "scale", shop.last_messages())
        reader.read_until(lambda results: is_exact(shop, results), "the exact results")
        stop(run)
        results = reader.read_all()
    expect_exact(shop, results)
    assert read_committed(broker.address, "scale-late") == []
    expect_rejects(read_committed(broker.address, "scale-rejects"), sent)
