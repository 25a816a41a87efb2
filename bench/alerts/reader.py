"""Reads the topic of alerts in a process of its own and tells how long each was on its way.

`python -m bench.alerts.reader BROKERS TOPIC` prints a line an alert: milliseconds from sending the payment to
making the alert, from there to writing it, from there to reading it; event, rule.
"""

from __future__ import annotations

import json
import sys
import time
from itertools import pairwise

from kafka import KafkaConsumer, TopicPartition


def main(brokers: str, topic: str) -> None:
    """Read until the process is ended."""
    consumer = KafkaConsumer(bootstrap_servers=brokers, fetch_max_wait_ms=100, fetch_min_bytes=1)
    consumer.assign([TopicPartition(topic, p) for p in consumer.partitions_for_topic(topic)])
    consumer.seek_to_end()
    for partition in consumer.assignment():
        consumer.position(partition)  # what comes from now on is read, also before the first poll
    print("ready", flush=True)
    for message in consumer:
        read_ms = time.time() * 1000
        alert = json.loads(message.value)
        at_ms = (alert["event"]["sent_ms"], alert["raised_ms"], message.timestamp, read_ms)
        parts = " ".join(f"{end - begin:.3f}" for begin, end in pairwise(at_ms))
        print(parts, alert["event_id"], alert["rule"], flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
