"""Similar items in Flink: the operators that answer, and those that read items."""

from __future__ import annotations

from collections.abc import Iterator

from pyflink.common import Row, Types
from pyflink.datastream import (
    KeyedBroadcastProcessFunction,
    KeyedProcessFunction,
    ProcessFunction,
    RuntimeContext,
)

from operators.plan import Plan
from operators.records import ItemRecord, decode_item, decode_similar, encode
from operators.shard_keys import stream_of
from operators.side_outputs import SideRejects
from operators.similar.answerer import Answerer
from operators.similar.gauges import SimilarGauges
from operators.similar.item_lines import BadItem, ItemReader, read_files, reject
from operators.similar.similar_runner import SimilarRunner
from operators.similar.similar_spec import FileItems
from state import descriptors
from state.item_state import item_key, item_of, read_vector, write_vector

ITEM_TYPE = Types.PRIMITIVE_ARRAY(Types.BYTE())


class SimilarFunction(KeyedProcessFunction):
    """Answers the questions of all entries of `similar`; keyed by entry and shard of the query.

    Blocks of JSON lines come out, one a record, with newlines between them.

    Args:
        plan_json: the plan, as JSON.
    """

    def __init__(self, plan_json: str) -> None:
        """Keep what is shipped to the workers."""
        self._plan_json = plan_json

    def open(self, runtime_context: RuntimeContext) -> None:
        """Read the files of items and wrap the state."""
        self._answering = _Answering(self._plan_json, runtime_context)

    def process_element(self, value: bytes, ctx: KeyedProcessFunction.Context) -> Iterator:
        """Take one record."""
        return self._answering.take(value, ctx.get_current_key())

    def close(self) -> None:
        """Build no more indexes."""
        self._answering.close()


class SimilarOnStream(KeyedBroadcastProcessFunction):
    """The same where the items of an entry are a stream, which every worker reads as a whole.

    They are in broadcast state, so that they are there again after a restart.

    Args:
        plan_json: the plan, as JSON.
    """

    def __init__(self, plan_json: str) -> None:
        """Keep what is shipped to the workers."""
        self._plan_json, self._restored = plan_json, False

    def open(self, runtime_context: RuntimeContext) -> None:
        """Read the files of items and wrap the state."""
        self._answering = _Answering(self._plan_json, runtime_context)
        self._restored = False

    def process_element(self, value: bytes, ctx: KeyedBroadcastProcessFunction.ReadOnlyContext) -> Iterator:
        """Take one record."""
        self._restore(ctx)
        return self._answering.take(value, ctx.get_current_key())

    def process_broadcast_element(self, value: bytes, ctx: KeyedBroadcastProcessFunction.Context) -> Iterator:
        """Take one change of an item."""
        self._restore(ctx)
        change, items = decode_item(value), ctx.get_broadcast_state(descriptors.ITEMS)
        key = item_key(change.catalogue, change.item)
        if change.vector is None:
            items.remove(key)
        else:
            items.put(key, change.vector)
        self._answering.change(change.catalogue, change.item, change.vector)
        return iter(())

    def close(self) -> None:
        """Build no more indexes."""
        self._answering.close()

    def _restore(self, ctx: KeyedBroadcastProcessFunction.ReadOnlyContext) -> None:
        """Fill the catalogues from state, before the first record: earlier there is no access to it."""
        if not self._restored:
            for key, vector in ctx.get_broadcast_state(descriptors.ITEMS).items():
                catalogue, item = item_of(key)
                self._answering.change(catalogue, item, vector)
            self._restored = True


class ItemParser(ProcessFunction):
    """Checks the messages of a topic of items, once for all workers; rejects are in `REJECTS`.

    Rows have the message's key, its value, and where it is from: topic, partition and offset.

    Args:
        plan_json: the plan, as JSON.
        name: the entry of `similar` that the items are for.
        topic: the topic's name.
    """

    def __init__(self, plan_json: str, name: str, topic: str) -> None:
        """Keep what is shipped to the workers."""
        self._plan_json, self._name, self._topic = plan_json, name, topic

    def open(self, runtime_context: RuntimeContext) -> None:
        """Make the reader."""
        self._reader = ItemReader(_answerers(self._plan_json)[self._name])
        self._rejects = SideRejects(runtime_context.get_metrics_group())

    def process_element(self, value: Row, ctx: ProcessFunction.Context) -> Iterator:
        """Check one message."""
        key, payload, partition, offset = value
        try:
            change = self._reader.read(payload, key)
        except BadItem as bad:
            position = {"topic": self._topic, "partition": partition, "offset": offset}
            text = reject(self._name, bad, payload, position).decode()
            yield from self._rejects.outputs(bad.reason, text)
            return
        vector = None if change.vector is None else write_vector(change.vector)
        yield encode(ItemRecord(self._name, change.item, vector))


class ItemFileCheck(ProcessFunction):
    """Tells the lines of files of items that cannot be used, once for all workers, in `REJECTS`.

    Elements are numbers: of the first, second ... entry of `similar` whose items are in files.

    Args:
        plan_json: the plan, as JSON.
    """

    def __init__(self, plan_json: str) -> None:
        """Keep what is shipped to the workers."""
        self._plan_json = plan_json

    def open(self, runtime_context: RuntimeContext) -> None:
        """Register what is counted."""
        self._rejects = SideRejects(runtime_context.get_metrics_group())

    def process_element(self, value: int, ctx: ProcessFunction.Context) -> Iterator:
        """Read the files of one entry."""
        answerers = _answerers(self._plan_json).values()
        answerer = [one for one in answerers if isinstance(one.spec.items, FileItems)][value]
        for line, position, outcome in read_files(answerer.spec.items, ItemReader(answerer)):
            if isinstance(outcome, BadItem):
                text = reject(answerer.spec.name, outcome, line, position).decode()
                yield from self._rejects.outputs(outcome.reason, text)


class _Answering:
    """The runners of all entries in one worker."""

    def __init__(self, plan_json: str, runtime_context: RuntimeContext) -> None:
        profiles = runtime_context.get_map_state(descriptors.PROFILES)
        self._runners: dict[str, SimilarRunner] = {}
        self._gauges: dict[str, SimilarGauges] = {}
        for name, answerer in _answerers(plan_json).items():
            runner = SimilarRunner(answerer, profiles)
            self._runners[name] = runner
            self._gauges[name] = SimilarGauges(runtime_context.get_metrics_group(), runner)
        self._by_stream = {runner.answerer.stream: name for name, runner in self._runners.items()}

    def take(self, value: bytes, shard: str) -> Iterator:
        name = self._by_stream[stream_of(shard)]
        lines = self._runners[name].on_record(shard, decode_similar(value))
        self._gauges[name].update()
        if lines:
            yield b"\n".join(lines).decode()

    def change(self, name: str, item: str | int, vector: bytes | None) -> None:
        runner = self._runners.get(name)
        if runner is None:  # an entry that the pipeline had when it was begun
            return
        if runner.answerer.id_type == "long":
            item = int(item)
        dimension = runner.answerer.spec.dimension
        runner.change(item, None if vector is None else read_vector(vector, dimension))

    def close(self) -> None:
        for runner in self._runners.values():
            runner.catalogue.close()


def _answerers(plan_json: str) -> dict[str, Answerer]:
    plan = Plan.model_validate_json(plan_json)
    return {answerer.spec.name: answerer for answerer in plan.resolved_similar()}
