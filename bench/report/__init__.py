"""What the benchmarks share: a pinned core and a stopwatch, tables, and the events they are fed."""
