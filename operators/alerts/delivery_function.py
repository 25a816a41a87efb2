"""Delivery in Flink: gives the runners their state, timers, clock and threads."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from random import random

from pydantic import SecretStr
from pyflink.common import Row, Types
from pyflink.datastream import (
    KeyedProcessFunction,
    OutputTag,
    ProcessFunction,
    RuntimeContext,
    TimeDomain,
)

from operators.alerts.alert_spec import AlertsSpec
from operators.alerts.channel_map import ChannelMap
from operators.alerts.delivery_runner import LOOK_AFTER_MS, DeliveryRunner, removed_channel
from operators.alerts.gauges import channel_gauges
from operators.alerts.sending import SendingThread, sending_thread
from operators.alerts.told import read_told
from operators.windows.flink_timers import FlinkTimers
from state import descriptors
from state.clock_state import END_OF_TIME_MS
from state.delivery_state import DeliveryState

DEAD_LETTERS = OutputTag("dead-letters", Types.STRING())
ADDRESSED = Types.ROW([Types.STRING(), Types.STRING()])
"""An alert on its way to a channel: the channel's name, and the alert."""
_FINISH_S = 30
"""Seconds for the last deliveries of all channels together once the input has ended."""


class Address(ProcessFunction):
    """Sends each alert, JSON text, to the channels that take it.

    Args:
        shipped: the section `alerts` with its secrets, as JSON.
    """

    def __init__(self, shipped: SecretStr) -> None:
        """Keep what is shipped to the workers."""
        self._shipped = shipped

    def open(self, runtime_context: RuntimeContext) -> None:
        """Read the options."""
        self._channels = _read(self._shipped).deliver

    def process_element(self, value: str, ctx: ProcessFunction.Context) -> Iterator[Row]:
        """Take one alert."""
        told = read_told(value)
        for channel in self._channels:
            # The end of an alert is for whoever heard of its beginning, however severe the rule is by now.
            if channel.takes(told.rule, None if told.status == "resolved" else told.severity):
                yield Row(channel.name, value)


class DeliveryFunction(KeyedProcessFunction):
    """Delivers alerts; keyed by channel. What cannot be delivered comes out, in `DEAD_LETTERS`, as JSON text.

    When the input ends, all channels have half a minute together to deliver what is pending; the rest become
    dead letters.

    Args:
        shipped: the section `alerts` with its secrets, as JSON.
        pipeline: the pipeline's name.
    """

    def __init__(self, shipped: SecretStr, pipeline: str) -> None:
        """Keep what is shipped to the workers."""
        self._shipped, self._pipeline = shipped, pipeline

    def open(self, runtime_context: RuntimeContext) -> None:
        """Take hold of the state; a channel's is read when it is at hand."""
        self._spec = _read(self._shipped)
        self._channels = {channel.name: channel for channel in self._spec.deliver}
        self._held = runtime_context.get_map_state(descriptors.DELIVERIES)
        self._metrics = runtime_context.get_metrics_group()
        self._timers = FlinkTimers()
        self._runners: dict[str, DeliveryRunner] = {}
        self._maps: dict[str, ChannelMap] = {}
        self._finished: set[str] = set()
        self._threads: list[SendingThread] = []

    def process_element(self, value: Row, ctx: KeyedProcessFunction.Context) -> Iterator:
        """Take one alert."""
        now_ms = self._timers.turn_to(ctx.get_current_key(), ctx.timer_service()).now_ms
        yield from _told(self._runner().on_alert(value[1].encode(), now_ms))
        self._timers.at_event_time(END_OF_TIME_MS)
        self._come_again(now_ms)

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator:
        """Do what is due."""
        now_ms = self._timers.turn_to(ctx.get_current_key(), ctx.timer_service()).now_ms
        channel = self._timers.key
        if channel not in self._channels:
            state = DeliveryState(self._held)
            yield from _told(removed_channel(channel, self._pipeline, state, self._spec.every, now_ms))
        elif channel in self._finished:
            self._maps[channel].flush()
        elif ctx.time_domain() == TimeDomain.EVENT_TIME:
            yield from _told(self._finish())
        else:
            yield from _told(self._runner().on_time(now_ms))
            self._come_again(now_ms)

    def close(self) -> None:
        """End the threads."""
        for thread in self._threads:
            thread.close()

    def _runner(self) -> DeliveryRunner:
        """Return the runner of the channel at hand."""
        name = self._timers.key
        if name not in self._runners:
            channel = self._channels[name]
            thread = sending_thread(channel)
            self._threads.append(thread)
            self._maps[name] = ChannelMap(self._held, lambda: self._timers.key == name)
            state = DeliveryState(self._maps[name])
            runner = DeliveryRunner(self._spec, channel, self._pipeline, state, thread, random)
            channel_gauges(self._metrics, name, runner)
            self._runners[name] = runner
        return self._runners[name]

    def _come_again(self, now_ms: int) -> None:
        next_ms = self._runner().next_ms(now_ms)
        if next_ms is not None:
            # On a grid, so that many alerts in a row do not each have a timer of their own.
            self._timers.at_processing_time(max(next_ms // LOOK_AFTER_MS + 1, 1) * LOOK_AFTER_MS)

    def _finish(self) -> list[bytes]:
        """Deliver what is pending in all channels concurrently, so that none delays the others."""
        self._runner()
        left = {name: runner for name, runner in self._runners.items() if name not in self._finished}
        for runner in left.values():
            runner.hurry(_now_ms())
        until_s = time.monotonic() + _FINISH_S
        dead = _run_each(left.values(), DeliveryRunner.on_time)
        while any(runner.pending for runner in left.values()) and time.monotonic() < until_s:
            time.sleep(LOOK_AFTER_MS / 1000)
            dead += _run_each(left.values(), DeliveryRunner.on_time)
        self._finished |= left.keys()
        return dead + _run_each(left.values(), lambda runner, now_ms: runner.abandon("ended", now_ms))


def _run_each(
    runners: Iterable[DeliveryRunner], do: Callable[[DeliveryRunner, int], list[bytes]]
) -> list[bytes]:
    """Call a function on each runner with the current time; return the dead letters of all."""
    return [letter for runner in runners for letter in do(runner, _now_ms())]


def _read(shipped: SecretStr) -> AlertsSpec:
    return AlertsSpec.model_validate_json(shipped.get_secret_value())


def _now_ms() -> int:
    return int(time.time() * 1000)


def _told(dead: Iterable[bytes]) -> Iterator:
    for letter in dead:
        yield DEAD_LETTERS, letter.decode()
