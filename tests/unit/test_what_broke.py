"""What is told of things that broke, by what a real Flink 2.3 said of them; frames of stack traces left out."""
# ruff: noqa: E501

from __future__ import annotations

import pytest

from flink_job.cluster.failure_reasons import reason_of

SUBMISSION = """\
Traceback (most recent call last):
  File "code/flink_job/main.py", line 55, in main
    env._j_stream_execution_environment.execute(stream_graph(env, pipeline, source))
  File "py4j/protocol.py", line 326, in get_return_value
    raise Py4JJavaError(
py4j.protocol.Py4JJavaError: An error occurred while calling o190.execute.
: org.apache.flink.util.FlinkException: Failed to execute job 'shop'.
\tat org.apache.flink.streaming.api.environment.StreamExecutionEnvironment.executeAsync(Environment.java:2477)
Caused by: java.lang.RuntimeException: org.apache.flink.runtime.client.JobInitializationException: Could not \
start the JobMaster.
\tat org.apache.flink.util.ExceptionUtils.rethrow(ExceptionUtils.java:321)
{cause}
\tat org.apache.flink.util.ExceptionUtils.rethrow(ExceptionUtils.java:321)
\t... 3 more

org.apache.flink.client.program.ProgramAbortException: java.lang.RuntimeException: Python process exits with \
code: 1
\tat org.apache.flink.client.python.PythonDriver.main(PythonDriver.java:134)
Caused by: java.lang.RuntimeException: Python process exits with code: 1
\tat org.apache.flink.client.python.PythonDriver.main(PythonDriver.java:124)
"""
GOES_ON = "the job goes on by itself from its last checkpoint"
NO_SLOTS = (
    "the cluster has too few free slots: a TaskManager is gone, or other jobs have them. Start another "
    f"TaskManager, end other jobs, or lower `parallelism`; then {GOES_ON}."
)
GONE = (
    "is gone: it was killed, crashed, ran out of memory or cannot be reached. Start another if none comes by "
    f"itself; then {GOES_ON}."
)
WORKER_GONE = (
    "a Python worker is gone: it was killed or crashed, or the machine is out of memory. Where it was the "
    f"memory, give the machine more or lower `parallelism`; {GOES_ON}."
)
DISK_FULL = (
    "a disk is full. Free some of it (that of checkpoints, of file sinks or of Flink's io.tmp.dirs), or name "
    f"other folders; {GOES_ON}, or is gone on with by --from latest where it was given up."
)
TOO_LONG = (
    "a checkpoint took too long and was given up. See at the web UI which task is behind; more `parallelism` "
    "or a longer checkpoints.every help."
)
TOO_MANY = (
    "org.apache.flink.util.FlinkRuntimeException: Exceeded checkpoint tolerable failure threshold. The "
    "latest checkpoint failed due to {why}, view the Checkpoint History tab or the Job Manager log to find "
    "out why continuous checkpoints failed.\n\tat org.apache.flink.runtime.checkpoint."
    "CheckpointFailureManager.checkFailureAgainstCounter(CheckpointFailureManager.java:234)\n"
)
FULL_DISK_LOGGED = """\
org.apache.flink.runtime.checkpoint.CheckpointException: Asynchronous task checkpoint failed.
\tat org.apache.flink.runtime.messages.checkpoint.SerializedCheckpointException.unwrap(A.java:51)
Caused by: org.apache.flink.util.SerializedThrowable: java.lang.Exception: Could not materialize checkpoint 5 \
for operator windows -> (results: Writer -> results: Committer) (1/1)#0.
\tat org.apache.flink.streaming.runtime.tasks.AsyncCheckpointRunnable.handleExecutionException(Async.java:326)
Caused by: org.apache.flink.util.SerializedThrowable: java.io.IOException: No space left on device
\t... 3 more
"""
SEEN = {
    "a TaskManager that was killed": (
        "org.apache.flink.runtime.jobmaster.JobMasterException: TaskManager with id taskmanager-1 is no longer "
        "reachable.\n\tat org.apache.flink.runtime.jobmaster.JobMaster$TaskManagerHeartbeatListener."
        "notifyTargetUnreachable(JobMaster.java:1680)\n",
        f"the TaskManager taskmanager-1 {GONE}",
    ),
    "a TaskManager that was stopped": (
        "java.util.concurrent.TimeoutException: Heartbeat of TaskManager with id taskmanager-2 timed out.\n"
        "\tat org.apache.flink.runtime.jobmaster.JobMaster$TaskManagerHeartbeatListener.notifyHeartbeatTimeout("
        "JobMaster.java:1664)\n",
        f"the TaskManager taskmanager-2 {GONE}",
    ),
    "a connection to a TaskManager that was killed": (
        "org.apache.flink.runtime.io.network.netty.exception.RemoteTransportException: Lost connection to task "
        "manager 'localhost/127.0.0.1:36523 [ taskmanager-3 ] '. This indicates that the remote task manager "
        "was lost.\n\tat org.apache.flink.runtime.io.network.netty.CreditBasedPartitionRequestClientHandler."
        "exceptionCaught(CreditBasedPartitionRequestClientHandler.java:164)\nCaused by: org.apache.flink.shaded."
        "netty4.io.netty.channel.unix.Errors$NativeIoException: recvAddress(..) failed: Connection reset by "
        "peer\n",
        f"the TaskManager taskmanager-3 {GONE}",
    ),
    "a message to a TaskManager that was killed": (
        "org.apache.flink.runtime.rpc.exceptions.RecipientUnreachableException: Could not send message "
        "[RemoteRpcInvocation(TaskExecutorGateway.submitTask(TaskDeploymentDescriptor, JobMasterId, Duration))] "
        "from sender [Actor[pekko://flink/temp/taskmanager_0$l3b]] to recipient [Actor[pekko.tcp://flink@"
        "localhost:38771/user/rpc/taskmanager_0]], because the recipient is unreachable. This can either mean "
        "that the recipient has been terminated or that the remote RpcService is currently not reachable.\n",
        f"the TaskManager {GONE}",
    ),
    "a checkpoint of another pipeline": (
        SUBMISSION.replace(
            "{cause}",
            "Caused by: java.lang.IllegalStateException: Failed to rollback to checkpoint/savepoint file:/c/0ff6/"
            "chk-1. Cannot map checkpoint/savepoint state for operator e85ddb41754e4fa581c5f992a5050ae4 to the "
            "new program, because the operator is not available in the new program.",
        ),
        "the checkpoint has state of an operator (e85ddb41754e4fa581c5f992a5050ae4) that the pipeline has not: "
        "it is of another pipeline, or a part such as rules or enrich was taken out. Name a checkpoint of this "
        "pipeline, put that part back, or begin afresh without --from.",
    ),
    "too few slots": (
        "java.util.concurrent.CompletionException: java.util.concurrent.CompletionException: org.apache.flink."
        "runtime.jobmanager.scheduler.NoResourceAvailableException: Could not acquire the minimum required "
        "resources.\n\tat org.apache.flink.runtime.scheduler.DefaultExecutionDeployer.lambda$assignResource$4("
        "DefaultExecutionDeployer.java:226)\nCaused by: org.apache.flink.runtime.jobmanager.scheduler."
        "NoResourceAvailableException: Could not acquire the minimum required resources.\n",
        NO_SLOTS,
    ),
    "a Python worker that was killed": (
        "java.lang.RuntimeException: Error while waiting for BeamPythonFunctionRunner flush\n"
        "Caused by: java.lang.RuntimeException: Failed to close remote bundle\n"
        "Caused by: java.util.concurrent.ExecutionException: org.apache.beam.vendor.grpc.v1p60p1.io.grpc."
        "StatusRuntimeException: CANCELLED: client cancelled\n"
        "Caused by: org.apache.beam.vendor.grpc.v1p60p1.io.grpc.StatusRuntimeException: CANCELLED: client "
        "cancelled\n\t... 8 more\n",
        WORKER_GONE,
    ),
    "a folder of checkpoints that is read only": (
        SUBMISSION.replace(
            "{cause}",
            "Caused by: java.io.IOException: Failed to create directory for shared state: file:/ro/c/30b7/shared",
        ),
        "a folder cannot be written to: file:/ro/c/30b7/shared. See to it that it is there and Flink's user may "
        "write to it (that of checkpoints, of file sinks or Flink's io.tmp.dirs), or name another.",
    ),
    "another max_parallelism": (
        SUBMISSION.replace(
            "{cause}",
            "Caused by: java.lang.IllegalStateException: Failed to rollback to checkpoint/savepoint Checkpoint "
            "Metadata. Max parallelism mismatch between checkpoint/savepoint state and new program. Cannot map "
            "operator 138f99313e5a65114a24ba449ed3cd86 with max parallelism 128 to new program with max "
            "parallelism 64. This indicates that the program has been changed in a non-compatible way after the "
            "checkpoint/savepoint.",
        ),
        "the checkpoint is of another max_parallelism than the pipeline. Set max_parallelism to what it was when "
        "the run began, or begin afresh without --from.",
    ),
    "a checkpoint whose metadata was cut off": (
        SUBMISSION.replace("{cause}", "Caused by: java.io.EOFException"),
        "the checkpoint cannot be read: a file of it is missing or damaged, or its state is of another form. "
        "Name an older one with --from, or begin afresh without it.",
    ),
    "no plugin": (
        SUBMISSION.replace(
            "{cause}",
            "Caused by: org.apache.flink.core.fs.UnsupportedFileSystemSchemeException: Could not find a file "
            "system implementation for scheme 's3'. The scheme is directly supported by Flink through the "
            "following plugin(s): flink-s3-fs-hadoop, flink-s3-fs-presto. Please ensure that each plugin resides "
            "within its own subfolder within the plugins directory.",
        ),
        "Flink has no plugin for s3://. Put its jar, such as flink-s3-fs-hadoop for s3, into a folder of its own "
        "in Flink's folder `plugins` on each machine and start Flink again, or name another folder.",
    ),
    "no Hadoop": (
        SUBMISSION.replace(
            "{cause}",
            "Caused by: org.apache.flink.core.fs.UnsupportedFileSystemSchemeException: Could not find a file "
            "system implementation for scheme 'hdfs'. The scheme is not directly supported by Flink and no "
            "Hadoop file system to support this scheme could be loaded.\nCaused by: org.apache.flink.core.fs."
            "UnsupportedFileSystemSchemeException: Hadoop is not in the classpath/dependencies.",
        ),
        "Flink has no Hadoop, which this file system needs. Name Hadoop's jars in HADOOP_CLASSPATH on each "
        "machine and start Flink again, or name another folder.",
    ),
    "what is not known": (
        SUBMISSION.replace("{cause}", "Caused by: java.lang.IllegalStateException: no idea"),
        "java.lang.IllegalStateException: no idea",
    ),
    "a full disk of file sinks": (
        "Caused by: java.nio.file.FileSystemException: /out/part-1: No space left on device",
        DISK_FULL.replace("full", "full: /out/part-1", 1),
    ),
    "a full disk in Python": (
        "Caused by: java.lang.RuntimeException: Error received from SDK harness for instruction 1: Traceback "
        '(most recent call last):\n  File "sdk_worker.py", line 311, in _execute\n    response = task()\n'
        "OSError: [Errno 28] No space left on device\n",
        DISK_FULL,
    ),
}


@pytest.mark.parametrize(("trace", "told"), SEEN.values(), ids=SEEN)
def test_what_flink_said_when_something_broke_is_told_in_plain_words(trace: str, told: str) -> None:
    assert reason_of(trace) == told
    assert "\n" not in told


@pytest.mark.parametrize(
    ("why", "said", "told"),
    [
        ("Asynchronous task checkpoint failed.", FULL_DISK_LOGGED, DISK_FULL),
        ("Checkpoint expired before completing.", "Checkpoint expired before completing.", TOO_LONG),
    ],
)
def test_a_job_whose_checkpoints_fail_is_told_by_why_they_do(why: str, said: str, told: str) -> None:
    assert reason_of(said) == told
    assert reason_of(TOO_MANY.replace("{why}", why), said) == f"too many checkpoints failed: {told}"
    assert reason_of(TOO_MANY.replace("{why}", why)) != reason_of("")


KAFKA = "org.apache.flink.util.FlinkRuntimeException: Failed to send data to Kafka\nCaused by: org.apache.kafka.common.errors."


@pytest.mark.parametrize(
    ("trace", "told"),
    [
        (f"{KAFKA}UnknownTopicOrPartitionException: This server does not host this topic-partition.", "a Kafka topic is not there, or was deleted. Create it again"),
        (f"{KAFKA}TimeoutException: Timeout expired after 60000ms while awaiting InitProducerId", "a Kafka broker does not answer. Start it again"),
        (f"{KAFKA}InvalidTxnTimeoutException: The transaction timeout is larger than the maximum value allowed by the broker (as configured by transaction.max.timeout.ms).", "the brokers do not allow transactions to last that long. Set transaction.timeout.ms"),
        (f"{KAFKA}ProducerFencedException: There is a newer producer with the same transactionalId which fences the current one.", "a Kafka transaction was ended by the brokers: "),
        (f"{KAFKA}InvalidProducerEpochException: Producer attempted to produce with an old epoch.", "a Kafka transaction was ended by the brokers: "),
        ("java.lang.ClassNotFoundException: org.apache.flink.connector.kafka.source.KafkaSource", "the cluster lacks the class org.apache.flink.connector.kafka.source.KafkaSource. Link the jar"),
        ("Caused by: java.lang.OutOfMemoryError: Metaspace\n\tat java.lang.ClassLoader.defineClass1(Native Method)", "Flink's Java ran out of memory: Metaspace. Give the TaskManagers more"),
        ("java.io.FileNotFoundException: /c/chk-1/x (Permission denied)", "a folder cannot be written to. See to it"),
        ("java.io.FileNotFoundException: Cannot find checkpoint or savepoint file/directory '/c' on file system 'file'.", "the checkpoint cannot be read: "),
    ],
)  # fmt: skip
def test_errors_as_kafka_java_and_flink_word_them_are_told_in_plain_words(trace: str, told: str) -> None:
    assert reason_of(trace).startswith(told)
