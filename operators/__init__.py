"""Operators of the job: ingest, slices and windows, metric kinds; they know no Kafka."""
