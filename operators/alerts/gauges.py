"""The metrics of delivery, in Flink's own metric groups, by channel.

All are gauges, the totals too: PyFlink loses what a timer adds to a counter, and timers do most of the work.
"""

from __future__ import annotations

from pyflink.metrics import MetricGroup

from operators.alerts.delivery_runner import DeliveryRunner


def channel_gauges(group: MetricGroup, channel: str, runner: DeliveryRunner) -> None:
    """Register the gauges of a channel.

    Args:
        group: the operator's metric group.
        channel: the channel's name.
        runner: what delivers to it.
    """
    own = group.add_group("channel", channel)
    own.gauge("alerts_pending", lambda: runner.pending)
    own.gauge("alerts_firing", lambda: runner.firing)
    own.gauge("alerts_delivered", lambda: runner.delivered)
    own.gauge("alerts_retried", lambda: runner.retried)
    own.gauge("alerts_dead", lambda: runner.dead)
    own.gauge("alerts_suppressed", lambda: runner.suppressed)
    own.gauge("breaker_open", lambda: int(runner.breaker.is_open))
