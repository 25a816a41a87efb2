"""The part of the graph that delivers alerts."""

from __future__ import annotations

from pyflink.common import Types
from pyflink.datastream import DataStream

from flink_job import uids
from flink_job.streams import side_output
from operators.alerts.alert_spec import AlertsSpec
from operators.alerts.delivery_function import ADDRESSED, DEAD_LETTERS, Address, DeliveryFunction


def deliver(alerts: DataStream, spec: AlertsSpec, pipeline: str) -> DataStream:
    """Deliver alerts to the channels that take them.

    Secrets travel within the functions, which Flink shows nothing of.

    Args:
        alerts: alerts, JSON text.
        spec: the section `alerts`.
        pipeline: the pipeline's name.

    Returns:
        What could not be delivered, JSON text.
    """
    shipped = spec.shipped()
    addressed = alerts.process(Address(shipped), ADDRESSED).uid(uids.ADDRESSED_ALERTS).name("address alerts")
    by_channel = addressed.key_by(lambda alert: alert[0], key_type=Types.STRING())
    delivered = by_channel.process(DeliveryFunction(shipped, pipeline), Types.STRING())
    return side_output(delivered.uid(uids.DELIVER_ALERTS).name("deliver alerts"), DEAD_LETTERS)
