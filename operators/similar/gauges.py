"""The metrics of the operator of similar items, in Flink's own metric groups.

Fractions would be cut off on their way to a reporter, so shares are in millionths.
"""

from __future__ import annotations

from pyflink.metrics import Counter, MetricGroup

from operators.similar.similar_runner import SimilarRunner

_MILLION = 1_000_000


class SimilarGauges:
    """How one entry of `similar` does in this worker.

    Args:
        group: the operator's metric group.
        runner: what answers.
    """

    def __init__(self, group: MetricGroup, runner: SimilarRunner) -> None:
        """Register the gauges."""
        self._runner, catalogue = runner, runner.catalogue
        self._group = group.add_group("answer", runner.answerer.spec.name)
        self._answers, self._search_us = self._group.counter("answers"), self._group.counter("search_us")
        self._searched_us, self._told = 0, 0
        self._by_reason: dict[str, Counter] = {}
        self._told_by_reason: dict[str, int] = {}
        self._group.gauge("catalogue_items", lambda: len(catalogue))
        self._group.gauge("catalogue_bytes", lambda: catalogue.bytes)
        self._group.gauge("index_recall_ppm", lambda: round(catalogue.recall * _MILLION))
        self._group.gauge("index_builds", lambda: catalogue.builds)
        if runner.profiles is not None:
            state = runner.profiles.state
            self._group.gauge("profiles", lambda: sum(len(profiles) for profiles in state.shards()))
            self._group.gauge("profile_state_bytes", lambda: sum(state.state_bytes.values()))
            self._group.gauge("unknown_touches", lambda: runner.unknown_touches)

    def update(self) -> None:
        """Count what has come since the last time."""
        runner = self._runner
        total = runner.answered + sum(runner.unanswered.values())
        self._answers.inc(total - self._told)
        self._told = total
        searched_us = int(runner.search_s * 1e6)
        self._search_us.inc(searched_us - self._searched_us)
        self._searched_us = searched_us
        for reason, count in runner.unanswered.items():
            if reason not in self._by_reason:
                self._by_reason[reason] = self._group.add_group("reason", reason).counter("unanswered")
            self._by_reason[reason].inc(count - self._told_by_reason.get(reason, 0))
            self._told_by_reason[reason] = count
