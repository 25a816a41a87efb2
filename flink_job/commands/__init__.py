"""What the commands do; `flink_job.cli` says how they are called."""
