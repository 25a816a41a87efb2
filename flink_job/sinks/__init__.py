"""Where results, late events and rejects go: one module a sink, all behind `flink_job.sinks.sink.Sink`."""
