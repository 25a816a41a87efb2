"""Turns a Flink or Python stack trace into one sentence on what happened and one on what to do."""

from __future__ import annotations

import re
from dataclasses import dataclass

from flink_job.sources.source import SourceProblem
from operators.first_seen.history import HistoryProblem
from operators.similar.item_lines import ItemsProblem

_TRACEBACK = "Traceback (most recent call last):"
_NAMED_ERROR = re.compile(r"(?:[A-Za-z_]\w*\.)*([A-Za-z_]\w*)(?:: (.*))?$")
_FRAMES = ("at ", "... ")
_SERIALIZED_PREFIX = "org.apache.flink.util.SerializedThrowable: "
"""Prefix of an exception that Flink serialized in another process."""
_TOO_MANY_FAILED = "Exceeded checkpoint tolerable failure threshold"
_WRAPPER_MESSAGE = "Python process exits with code"
"""Error of the submission's JVM when its Python process failed; the Python error is the actual cause."""
_JAVA_ERROR = "Py4JJavaError"
"""The Python error that only wraps a Java exception."""
UNREADABLE = (SourceProblem, ItemsProblem, HistoryProblem)
"""The project's own errors for unreadable input; their messages already say what to do."""
_TELLING = frozenset(problem.__qualname__ for problem in UNREADABLE)
_GOES_ON = "the job goes on by itself from its last checkpoint"


@dataclass(frozen=True)
class _Cause:
    """A known kind of failure.

    Attributes:
        pattern: matches the text of Flink, Kafka or the system; its named groups fill both sentences.
        happened: the sentence on what happened, without its full stop.
        remedy: the sentence on what to do, without its full stop.
    """

    pattern: re.Pattern[str]
    happened: str
    remedy: str

    def explain(self, text: str) -> str | None:
        """Return both sentences if the text matches, else None."""
        found = self.pattern.search(text)
        if found is None:
            return None
        names = {name: value or "" for name, value in found.groupdict().items()}
        told = f"{self.happened}. {self.remedy}.".format(**names)
        return told.replace("  ", " ").replace(": .", ".")


def _cause(pattern: str, happened: str, remedy: str) -> _Cause:
    return _Cause(re.compile(pattern), happened, remedy)


_CAUSES = (
    _cause(
        r"Hadoop is not in the classpath|No FileSystem for scheme",
        "Flink has no Hadoop, which this file system needs",
        "Name Hadoop's jars in HADOOP_CLASSPATH on each machine and start Flink again, or name another "
        "folder",
    ),
    _cause(
        r"Could not find a file system implementation for scheme '(?P<scheme>[^']*)'",
        "Flink has no plugin for {scheme}://",
        "Put its jar, such as flink-s3-fs-hadoop for s3, into a folder of its own in Flink's folder "
        "`plugins` on each machine and start Flink again, or name another folder",
    ),
    _cause(
        r"(?:(?P<where>/[^\s:']+): )?No space left on device",
        "a disk is full: {where}",
        "Free some of it (that of checkpoints, of file sinks or of Flink's io.tmp.dirs), or name other "
        f"folders; {_GOES_ON}, or is gone on with by --from latest where it was given up",
    ),
    _cause(
        r"(?:(?:Failed to create directory for shared state:|AccessDeniedException:|Mkdirs failed to create) "
        r"(?P<where>\S+)|Read-only file system|Permission denied)",
        "a folder cannot be written to: {where}",
        "See to it that it is there and Flink's user may write to it (that of checkpoints, of file sinks or "
        "Flink's io.tmp.dirs), or name another",
    ),
    _cause(
        r"OutOfMemoryError: (?P<what>[^\n]+)|RESOURCE_EXHAUSTED",
        "Flink's Java ran out of memory: {what}",
        "Give the TaskManagers more (taskmanager.memory.process.size), or lower `parallelism`; for Metaspace "
        "see `sketchstream doctor --cluster`",
    ),
    _cause(
        r"(?:ClassNotFoundException|NoClassDefFoundError): (?P<name>[\w.$/]+)"
        r"|Cannot load user class: (?P<other>\S+)",
        "the cluster lacks the class {name}{other}",
        "Link the jar that has it, such as Kafka's connector, to Flink's folder `lib` on each machine and "
        "start Flink again; `sketchstream doctor --cluster` looks at them",
    ),
    _cause(
        r"UnknownTopicOrPartitionException",
        "a Kafka topic is not there, or was deleted",
        f"Create it again with as many partitions as it had; then {_GOES_ON}",
    ),
    _cause(
        r"OffsetOutOfRangeException|[Oo]ffsets? out of range",
        "Kafka no longer has the messages that come next: they were deleted by age or size",
        "Have the topic keep messages for longer, and begin afresh without --from",
    ),
    _cause(
        r"InvalidTxnTimeoutException|transaction timeout is larger than the maximum",
        "the brokers do not allow transactions to last that long",
        "Set transaction.timeout.ms in the sink's properties to no more than the brokers' "
        "transaction.max.timeout.ms",
    ),
    _cause(
        r"ProducerFencedException|InvalidProducerEpochException|InvalidPidMappingException"
        r"|InvalidTxnStateException",
        "a Kafka transaction was ended by the brokers: it lasted longer than transaction.timeout.ms, or "
        "another job of the same name writes too",
        f"See to it that no other job has this name, and checkpoints come in time; {_GOES_ON}",
    ),
    _cause(
        r"org\.apache\.kafka\.common\.errors\.TimeoutException|DisconnectException: "
        r"|Timed out waiting for a node",
        "a Kafka broker does not answer",
        f"Start it again, or mend the way to it; then {_GOES_ON}",
    ),
    _cause(
        r"TaskManager with id (?P<name>\S+) is no longer reachable"
        r"|Heartbeat of TaskManager with id (?P<silent>\S+) timed out"
        r"|task manager '[^'\[]*(?:\[ (?P<remote>[^\] ]+) \])?"
        r"|Task[Mm]anager (?P<lost>\S+) (?:was lost|is shutting down)"
        r"|The TaskExecutor is shutting down|TaskExecutorGateway|/user/rpc/taskmanager_",
        "the TaskManager {name}{silent}{remote}{lost} is gone: it was killed, crashed, ran out of memory or "
        "cannot be reached",
        f"Start another if none comes by itself; then {_GOES_ON}",
    ),
    _cause(
        r"NoResourceAvailableException|Could not acquire the minimum required resources",
        "the cluster has too few free slots: a TaskManager is gone, or other jobs have them",
        f"Start another TaskManager, end other jobs, or lower `parallelism`; then {_GOES_ON}",
    ),
    _cause(
        r"StatusRuntimeException: (?:CANCELLED|UNAVAILABLE)|Process died with exit code|exit code 137",
        "a Python worker is gone: it was killed or crashed, or the machine is out of memory",
        f"Where it was the memory, give the machine more or lower `parallelism`; {_GOES_ON}",
    ),
    _cause(
        r"Max(?:imum)? parallelism mismatch|maximum parallelism",
        "the checkpoint is of another max_parallelism than the pipeline",
        "Set max_parallelism to what it was when the run began, or begin afresh without --from",
    ),
    _cause(
        r"Cannot map checkpoint/savepoint state for operator (?P<name>\w+)",
        "the checkpoint has state of an operator ({name}) that the pipeline has not: it is of another "
        "pipeline, or a part such as rules or enrich was taken out",
        "Name a checkpoint of this pipeline, put that part back, or begin afresh without --from",
    ),
    _cause(
        r"Cannot find (?:checkpoint or savepoint file|meta data file)|Could not restore|Failed to rollback"
        r"|StateMigrationException|Could not load checkpoint"
        r"|Could not start the JobMaster[\s\S]*EOFException",
        "the checkpoint cannot be read: a file of it is missing or damaged, or its state is of another form",
        "Name an older one with --from, or begin afresh without it",
    ),
    _cause(
        r"Checkpoint expired before completing",
        "a checkpoint took too long and was given up",
        "See at the web UI which task is behind; more `parallelism` or a longer checkpoints.every help",
    ),
    _cause(
        rf"{_TOO_MANY_FAILED}|Asynchronous task checkpoint failed"
        r"|Checkpoint was declined|IOException occurred|Failure to finalize checkpoint",
        "checkpoints fail: most often their folder is full, or cannot be written to",
        f"See to checkpoints.dir; {_GOES_ON}",
    ),
    _cause(
        r"Checkpoint Coordinator is (?:suspending|shutdown)|Trigger checkpoint failure"
        r"|[Tt]asks? .*not being executed|Not all required tasks are currently running",
        "the job was not running as a whole",
        "The next one begins when it does",
    ),
)
"""Known failures, root causes before their consequences: the first match is reported."""


def reason_of(trace: str, checkpoint_failure: str = "") -> str:
    """Explain a stack trace in one line: what happened, and what to do.

    For an unknown failure it is the error of the last Python traceback if any, else the innermost Java cause.

    Args:
        trace: the stack trace.
        checkpoint_failure: the cause of failed checkpoints, which is not in the trace of a job that fails
            because of them; empty if none.
    """
    if _TOO_MANY_FAILED in trace and checkpoint_failure:
        return f"too many checkpoints failed: {reason_of(checkpoint_failure)}"
    own, said = _python_error(trace)
    if own:
        return said
    said = said or _java_messages(trace)
    known = (cause.explain(said) for cause in _CAUSES)
    return next(filter(None, known), None) or _innermost_cause(said)


def _python_error(trace: str) -> tuple[bool, str]:
    """Return whether the last Python traceback ends in one of the project's own errors, and its message.

    The message is empty where there is no traceback, or where its error only wraps a Java exception.
    """
    python = trace.rpartition(_TRACEBACK)[2] if _TRACEBACK in trace else ""
    # The frames of a traceback are indented; the first line that is not is the error.
    for line in python.splitlines()[1:]:
        if named := _NAMED_ERROR.match(line):
            name, said = named[1], named[2] or ""
            if name == _JAVA_ERROR:
                break
            told = said if name in _TELLING else f"{name}: {said}".removesuffix(": ")
            return name in _TELLING, told
    return False, ""


def _java_messages(trace: str) -> str:
    """Return the messages of the Java exceptions in a trace, without stack frames."""
    java = trace.rpartition(f"{_JAVA_ERROR}: ")[2].replace(_SERIALIZED_PREFIX, "")
    lines = (line.strip() for line in java.splitlines())
    return "\n".join(
        line for line in lines if line and not line.startswith(_FRAMES) and _WRAPPER_MESSAGE not in line
    )


def _innermost_cause(said: str) -> str:
    lines = said.splitlines()
    causes = [line.removeprefix("Caused by: ") for line in lines if line.startswith("Caused by: ")]
    return (causes or lines or ["no reason given"])[-1 if causes else 0]
