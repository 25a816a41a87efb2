"""A real Kafka broker and a real Flink cluster as plain processes on this machine."""
