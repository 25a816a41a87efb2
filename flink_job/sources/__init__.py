"""Where events come from: one module a source, all behind `flink_job.sources.source.Source`."""
