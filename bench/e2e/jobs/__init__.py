"""What the benchmark submits besides the product: each module is the entry of a Flink job."""
