"""A Flink cluster that is there already: the job handed to it, followed and stopped."""
