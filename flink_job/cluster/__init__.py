"""The job on a Flink cluster: one within this process, or one that is there already."""
