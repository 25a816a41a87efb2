"""The vectorised, stateless half of the job: from raw payloads to partial sketches."""
