"""Whether the brokers of a pipeline answer, and its topics may be read and written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from flink_job.commands.examination.finding import Finding
from flink_job.kafka_clients.problem import BrokerProblem, KafkaProblem, TopicProblem
from flink_job.kafka_clients.topics import partitions_of_sink, partitions_of_source
from flink_job.pipeline.spec import Pipeline
from flink_job.sinks.kafka_spec import KafkaSinkSpec
from flink_job.sources.kafka_spec import SECURITY, KafkaSourceSpec
from flink_job.sources.side_topics import with_brokers

_BROKER, _PROPERTIES = "broker", "Kafka properties"


def check_kafka(pipeline: Pipeline) -> list[Finding]:
    """Look at every broker and topic that a pipeline names; nothing is created.

    Of brokers that do not answer there is one finding and none of their topics.

    Args:
        pipeline: the pipeline.

    Returns:
        One finding a broker and one an end of the pipeline; none where it has nothing to do with Kafka.
    """
    findings: list[Finding] = []
    answers: dict[tuple[str, ...], bool] = {}
    for end, brokers, properties, look in _ends(pipeline):
        security = (f"{key}={properties[key]}" for key in sorted(properties) if key.startswith(SECURITY))
        listener = (brokers, *security)
        if answers.get(listener) is False:
            continue
        finding = _looked_at(end, look)
        if listener not in answers and finding.name != _PROPERTIES:
            answers[listener] = finding.name != _BROKER
            if answers[listener]:
                findings.append(Finding(_BROKER, "ok", f"{brokers} answers"))
        findings.append(finding)
    return findings


def _looked_at(end: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(end, "ok", look())
    except BrokerProblem as problem:
        return Finding(_BROKER, "fail", problem.message, problem.remedy)
    except TopicProblem as problem:
        return Finding(end, "fail", problem.message, problem.remedy)
    except KafkaProblem as problem:
        return Finding(_PROPERTIES, "fail", problem.message, problem.remedy)


def _ends(pipeline: Pipeline) -> Iterator[tuple[str, str, Mapping[str, str], Callable[[], str]]]:
    """Yield each end of a pipeline that is in Kafka: its name, brokers, properties, and how to look at it."""
    source = pipeline.source
    if isinstance(source, KafkaSourceSpec):
        yield "source", source.brokers, source.properties, lambda: _of_source(source)
    for key, topic in pipeline.side_topics():
        beside = with_brokers(topic, pipeline).source()
        yield f"topic of {key}", beside.brokers, beside.properties, lambda beside=beside: _of_source(beside)
    for output in pipeline.outputs():
        spec = getattr(pipeline.sinks, output)
        if isinstance(spec, KafkaSinkSpec):
            whole, is_results = with_brokers(spec, pipeline), output == "results"
            brokers = whole.brokers or ""
            yield (
                f"sink of {output}",
                brokers,
                whole.properties,
                lambda whole=whole, brokers=brokers, compacted=is_results: _of_sink(
                    whole, brokers, compacted
                ),
            )


def _of_source(spec: KafkaSourceSpec) -> str:
    found = partitions_of_source(spec)
    return ", ".join(f"{topic}: {_counted(partitions)}" for topic, partitions in found.items())


def _of_sink(spec: KafkaSinkSpec, brokers: str, compacted: bool) -> str:
    partitions = partitions_of_sink(spec, brokers, compacted)
    if partitions is None:
        return f"{spec.topic}: is not there, will be created"
    return f"{spec.topic}: {_counted(partitions)}"


def _counted(partitions: int) -> str:
    return f"{partitions} partition{'s' if partitions != 1 else ''}"
