"""The end-to-end benchmark: a real broker, a real cluster, and what else one could run on them."""
