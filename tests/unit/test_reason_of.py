"""The one line of a stack trace that is shown."""

from __future__ import annotations

import pytest

from flink_job.cluster.failure_reasons import reason_of

PYTHON_IN_JAVA = """\
org.apache.flink.runtime.taskmanager.AsynchronousException: Caught exception while processing timer.
\tat org.apache.flink.streaming.runtime.tasks.StreamTask.handle(StreamTask.java:1739)
Caused by: TimerException{java.lang.RuntimeException: Error while waiting for BeamPythonFunctionRunner flush}
\t... 13 more
Caused by: java.lang.RuntimeException: Error received from SDK harness for instruction 1: Traceback (most recent call last):
  File "sdk_worker.py", line 311, in _execute
    response = task()
               ^^^^^^
  File "operators/ingest/ingest_function.py", line 60, in eval
    raise ValueError(
KeyError: 'a'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "operators/ingest/ingest_function.py", line 62, in eval
    batch.take(
{error}

\tat org.apache.beam.runners.fnexecution.control.FnApiControlClient.await(FnApiControlClient.java:180)
\t... 7 more
Caused by: java.io.IOException: the stream is closed
\tat java.base/java.lang.Thread.run(Thread.java:829)
"""  # noqa: E501


@pytest.mark.parametrize(
    ("error", "told"),
    [
        ("ValueError: expected 3 bytes, got 2", "ValueError: expected 3 bytes, got 2"),
        ("sketches.errors.BadData: expected version 1", "BadData: expected version 1"),
        (
            "flink_job.sources.source.SourceProblem: /data/e.json: changed or gone",
            "/data/e.json: changed or gone",
        ),
        (
            "operators.similar.item_lines.ItemsProblem: similar.a.items.path: gone",
            "similar.a.items.path: gone",
        ),
        ("operators.first_seen.history.HistoryProblem: history.path: gone", "history.path: gone"),
        ("polars.exceptions.ComputeError: bad: value: 5\nand more", "ComputeError: bad: value: 5"),
        ("AssertionError", "AssertionError"),
        ("KeyError: 'Caused by: me'", "KeyError: 'Caused by: me'"),
    ],
)
def test_the_error_of_the_last_python_traceback_is_the_reason(error: str, told: str) -> None:
    assert reason_of(PYTHON_IN_JAVA.replace("{error}", error)) == told


def test_without_python_the_innermost_java_cause_is_the_reason() -> None:
    trace = """\
org.apache.flink.runtime.client.JobExecutionException: Job execution failed.
\tat org.apache.flink.runtime.jobmaster.JobResult.toJobExecutionResult(JobResult.java:144)
Caused by: org.apache.flink.runtime.JobException: Recovery is suppressed
\t... 3 more
Caused by: org.apache.flink.util.SerializedThrowable: java.io.IOException: the stream is closed
\tat java.base/sun.nio.fs.UnixException.translateToIOException(UnixException.java:100)
\t... 9 more
"""
    assert reason_of(trace) == "java.io.IOException: the stream is closed"


def test_data_in_an_error_of_our_own_is_not_taken_for_what_flink_says() -> None:
    error = "flink_job.sources.source.SourceProblem: /a/No space left on device: is not there"
    assert reason_of(PYTHON_IN_JAVA.replace("{error}", error)) == "/a/No space left on device: is not there"


def test_a_trace_without_causes_gives_its_first_line() -> None:
    trace = "java.lang.IllegalStateException: no slots\n\tat a.b.C.d(C.java:1)\n"
    assert reason_of(trace) == "java.lang.IllegalStateException: no slots"


@pytest.mark.parametrize("trace", ["", "\n \n"])
def test_no_trace_gives_no_reason(trace: str) -> None:
    assert reason_of(trace) == "no reason given"


def test_a_traceback_that_was_cut_off_falls_back_to_java() -> None:
    trace = 'java.lang.RuntimeException: Error: Traceback (most recent call last):\n  File "a.py", line'
    assert reason_of(trace) == "java.lang.RuntimeException: Error: Traceback (most recent call last):"


def test_the_reason_is_one_line() -> None:
    assert "\n" not in reason_of(PYTHON_IN_JAVA)
