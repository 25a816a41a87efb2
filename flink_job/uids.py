"""The uid of every operator: the name under which its state is found again; a uid is for ever."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyflink.table import StreamTableEnvironment

SOURCE = "source"
DEALT = "dealt"
INGEST = "ingest"
BRANCH = "branch"
FIRST_SEEN = "first-seen"
GATHER = "gather"
WINDOWS = "windows"
RESULTS = "results"
LATE = "late"
REJECTS = "rejects"
REJECTS_BESIDE = "rejects-beside"
TOTALS = "totals"
TOTALS_BESIDE = "totals-beside"
FIRST_EVENTS = "first-events"
RUNNING = "running"
ENRICH = "enrich"
ENRICHED_LINES = "enriched-lines"
ENRICHED = "enriched"
ITEMS = "items"
ITEM_FILES = "item-files"
SIMILAR = "similar"
SIMILAR_LINES = "similar-lines"
ANSWERS = "answers"
RULES = "rules"
RULE_CHANGES = "rule-changes"
FEEDBACK = "feedback"
KEEPER = "rule-keeper"
KEEPER_START = "rule-keeper-start"
TIMELESS = "timeless-rule-changes"
RESULT_RULES = "result-rules"
RESULT_ALERTS = "result-alerts"
ADDRESSED_ALERTS = "addressed-alerts"
DELIVER_ALERTS = "deliver-alerts"
ALERTS = "alerts"
ALERT_LINES = "alert-lines"
DECISIONS = "decisions"
DECISION_LINES = "decision-lines"
AUDIT = "audit"
DEAD_LETTERS = "dead-letters"


def name_table_operators(t_env: StreamTableEnvironment, uid: str, numbered: bool = False) -> None:
    """Give the operators that Flink makes of the next tables uids that say what they do, after this one.

    Flink would number them in the order in which they are made, so that a change of one part of the graph
    would cost another its state.

    Args:
        t_env: where the next tables are.
        uid: what the uids begin with.
        numbered: whether to number them all the same: for tables that are made before all others, and of
            which several operators do the same.
    """
    number = "<id>_" if numbered else ""
    t_env.get_config().set("table.exec.uid.format", f"{uid}_{number}<type>_<transformation>")
