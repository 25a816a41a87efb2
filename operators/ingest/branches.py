"""Where in the graph each of the things goes that ingest makes of a batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import msgspec

from operators.enrich.enrich_records import is_enrich_stream
from operators.ingest.gather_records import is_gather_stream
from operators.ingest.seen_records import is_seen_stream
from operators.records import Envelope
from operators.rules.rule_records import is_rules_stream
from operators.shard_keys import stream_of
from operators.similar.answerer import is_similar_stream

WINDOWS, SEEN, GATHER, ENRICH = "windows", "seen", "gather", "enrich"
SIMILAR, RULES, REJECTS, TOTALS = "similar", "rules", "rejects", "totals"
_NO_SHARD = ""
_OTHERS: Mapping[str, Callable[[str], bool]] = {
    SEEN: is_seen_stream,
    GATHER: is_gather_stream,
    ENRICH: is_enrich_stream,
    SIMILAR: is_similar_stream,
    RULES: is_rules_stream,
}
_encode = msgspec.json.encode


def branched(
    envelope: Envelope, reasons: Mapping[str, int], rejected_lines: int
) -> Iterator[tuple[str, str, bytes]]:
    """Split an envelope into its records: yield the branch, the shard and the record of each.

    Args:
        envelope: the output of ingest for a batch.
        reasons: how many events were rejected for each reason.
        rejected_lines: number of lines of the rejects; more than rejects where records span lines.

    Yields:
        First, for `TOTALS`, these numbers and the number of events as a JSON object; for `REJECTS` each
        reject as JSON; then the records.
    """
    totals = {"events": envelope.events, "rejects": reasons, "rejected_lines": rejected_lines}
    yield TOTALS, _NO_SHARD, _encode(totals)
    for reject in envelope.rejects:
        yield REJECTS, _NO_SHARD, reject
    for shard, record in envelope.records:
        stream = stream_of(shard)
        yield next((name for name, is_of in _OTHERS.items() if is_of(stream)), WINDOWS), shard, record
