"""Mergeable sketches over numpy: bounded memory, stated error; knows neither Flink nor Kafka."""
