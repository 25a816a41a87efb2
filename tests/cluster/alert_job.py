"""A job of alerts alone, in an embedded cluster: numbers become alerts, at some rate, and are delivered.

Its arguments are its folder, how many alerts there are, how many milliseconds each takes, and the section
`alerts` as JSON in a file of the folder. It says where its web UI is, and writes dead letters there.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from flink_job.machine.environment import export_java
from flink_job.machine.flink import LOG4J_PROPERTIES
from flink_job.machine.ports import free_port
from flink_job.settings import embedded_settings

ROOT = Path(__file__).resolve().parents[2]


def main(folder: Path, count: int, pause_ms: int) -> None:
    """Run the job to its end."""
    export_java()
    (folder / "logs").mkdir()
    os.environ |= {
        "FLINK_LOG_DIR": str(folder / "logs"),
        "LOG4J_PROPERTIES": str(LOG4J_PROPERTIES),
        "_python_worker_execution_mode": "process",
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
    }
    from pyflink.common import Configuration, Encoder, Types, WatermarkStrategy
    from pyflink.datastream import ProcessFunction, StreamExecutionEnvironment
    from pyflink.datastream.connectors.file_system import BucketAssigner, FileSink, RollingPolicy
    from pyflink.datastream.connectors.number_seq import NumberSequenceSource

    from flink_job.delivery_graph import deliver
    from operators.alerts.alert_spec import AlertsSpec

    class Alerts(ProcessFunction):
        """Makes alerts; every third is of a rule on results and has its end ten later."""

        def process_element(self, value: int, ctx: ProcessFunction.Context) -> object:
            time.sleep(pause_ms / 1000)
            yield json.dumps(alert_of(value))
            if value >= 10 and (value - 10) % 3 == 0:
                yield json.dumps(alert_of(value - 10) | {"status": "resolved"})

    def alert_of(number: int) -> dict[str, object]:
        told = {
            "id": f"{number:08}", "pipeline": "alerts", "rule": f"rule_{number % 2}", "version": 1,
            "severity": "warning", "status": "firing", "key": {"user": f"u{number}"}, "values": {},
            "event_time_ms": 0, "raised_ms": 1_700_000_000_000,
        }  # fmt: skip
        return told | ({"metric": "m"} if number % 3 == 0 else {})

    port = free_port()
    settings = embedded_settings(port, 1, 1) | {
        "execution.checkpointing.interval": "500 ms",
        "execution.checkpointing.dir": (folder / "checkpoints").as_uri(),
        "state.backend.type": "rocksdb",
        "restart-strategy.type": "fixed-delay",
        "restart-strategy.fixed-delay.attempts": "5",
        "restart-strategy.fixed-delay.delay": "500 ms",
        "python.fn-execution.bundle.time": "10",
        "python.fn-execution.bundle.size": "10",
        "python.metric.enabled": "true",
    }
    configuration = Configuration()
    for key, value in settings.items():
        configuration.set_string(key, value)
    env = StreamExecutionEnvironment.get_execution_environment(configuration)
    spec = AlertsSpec.model_validate_json((folder / "alerts.json").read_text())
    numbers = env.from_source(
        NumberSequenceSource(0, count - 1), WatermarkStrategy.no_watermarks(), "numbers", Types.LONG()
    )
    dead = deliver(numbers.process(Alerts(), Types.STRING()).uid("alerts"), spec, "alerts")
    sink = FileSink.for_row_format(str(folder / "dead"), Encoder.simple_string_encoder())
    sink = sink.with_rolling_policy(RollingPolicy.on_checkpoint_rolling_policy())
    dead.sink_to(sink.with_bucket_assigner(BucketAssigner.base_path_bucket_assigner()).build()).uid("dead")
    client = env.execute_async("alerts")
    print(f"web UI: http://localhost:{port}", file=sys.stderr)
    client.get_job_execution_result().result()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
