"""What answers the questions of one entry of `similar`: the logic, without an engine."""

from __future__ import annotations

import time
from collections import Counter

import numpy as np

from operators.records import SimilarRecord
from operators.similar.answerer import Answerer, ItemId
from operators.similar.answers import NO_ITEMS, AnswerWriter, items_json
from operators.similar.catalogue import Catalogue
from operators.similar.item_lines import ItemChange, ItemReader, ItemsProblem, read_files
from operators.similar.profiles import DecayedProfiles, user_name
from operators.similar.similar_spec import FileItems
from operators.similar.text_encoder import HashingEncoder
from operators.similar.touch_history import profiles_before
from state.clock_state import ByteMap
from state.profile_state import ProfileState

UNKNOWN_ITEM, EMPTY_TEXT, NO_PROFILE, NO_ITEMS_YET = (
    "unknown_item", "empty_text", "no_profile", "empty_catalogue",
)  # fmt: skip
_BLEND = 3
"""Of how many items a profile is taken to be a sum when recall is measured."""


class SimilarRunner:
    """Answers questions out of a catalogue.

    Args:
        answerer: the entry.
        profiles: the map of the current shard for users' profiles.

    Attributes:
        catalogue: its items.
        profiles: users' profiles; None where questions are not of users.
        answered: how many questions were answered with items.
        unanswered: how many were not, by reason.
        unknown_touches: how many touches were of items that the catalogue did not have.
        search_s: how long searches took, in seconds.

    Raises:
        ItemsProblem: a file of items is missing or cannot be read.
        HistoryProblem: one of history is.
    """

    def __init__(self, answerer: Answerer, profiles: ByteMap) -> None:
        """Read files of items and of history; of state nothing is read yet."""
        spec = answerer.spec
        self.answerer = answerer
        self.catalogue = Catalogue(spec.dimension, spec.index, 1 if spec.profile is None else _BLEND)
        self._load_files()
        self.profiles: DecayedProfiles | None = None
        if spec.profile is not None:
            before = None if spec.history is None else profiles_before(answerer, self.catalogue)
            state = ProfileState(profiles, spec.dimension, before)
            self.profiles = DecayedProfiles(state, spec.profile.half_life)
        self._encoder = HashingEncoder(spec.dimension)
        self.answered, self.unknown_touches, self.search_s = 0, 0, 0.0
        self.unanswered: Counter[str] = Counter()

    def change(self, item: ItemId, vector: np.ndarray | None) -> None:
        """Put an item into the catalogue or, without a vector, take it out."""
        if vector is None:
            self.catalogue.remove(item)
        else:
            self.catalogue.put(item, vector)

    def on_record(self, shard: str, record: SimilarRecord) -> list[bytes]:
        """Return the answer to each event of a record that asks, in their order, a JSON object each.

        Args:
            shard: names the shard at hand.
            record: the events.
        """
        owners = np.frombuffer(record.owners, "<u4").astype(np.int64)
        asks = np.frombuffer(record.asks, np.uint8) > 0
        times = np.frombuffer(record.times, "<i8")
        numbers = owners[asks]
        if self.profiles is not None:
            vectors = self._of_users(shard, record, owners, times, asks)
            asked, leave_out = np.arange(len(vectors)), [None] * len(vectors)
        else:
            # Each different question is searched for once, whatever the number of events that ask it.
            present, asked = np.unique(numbers, return_inverse=True)
            values = [record.values[number] for number in present.tolist()]
            vectors, leave_out = self._of_values(values)
        found, reasons = self._search(vectors, leave_out)
        spec, catalogue = self.answerer.spec, self.catalogue
        writer = AnswerWriter(spec.name, spec.query.kind, catalogue.kind, catalogue.recall, len(catalogue))
        lines = []
        told = zip(asked.tolist(), numbers.tolist(), times[asks].tolist(), record.positions, strict=True)
        for question, number, time_ms, position in told:
            reason = reasons[question]
            lines.append(writer.line(record.values[number], time_ms, found[question], reason, position))
            if reason is None:
                self.answered += 1
            else:
                self.unanswered[reason] += 1
        return lines

    def _load_files(self) -> None:
        """Fill the catalogue from files, where its items are in files, and build its index.

        What cannot be used is passed over: it is told once for the whole job, not by every worker.
        """
        items = self.answerer.spec.items
        if not isinstance(items, FileItems):
            return
        try:
            for _, _, outcome in read_files(items, ItemReader(self.answerer)):
                if isinstance(outcome, ItemChange):
                    self.change(outcome.item, outcome.vector)
        except ItemsProblem as problem:
            raise ItemsProblem(f"similar.{self.answerer.spec.name}.{problem}") from None
        self.catalogue.settle()

    def _of_users(
        self,
        shard: str,
        record: SimilarRecord,
        owners: np.ndarray,
        times: np.ndarray,
        asks: np.ndarray,
    ) -> list[np.ndarray | str]:
        """Return the vector of each question, or why there is none, and count touches."""
        touches = np.frombuffer(record.touches, "<i4").tolist()
        vectors, there = self.catalogue.vectors_of(record.items)
        known = [vector if is_there else None for vector, is_there in zip(vectors, there, strict=True)]
        touched = [None if number < 0 else known[number] for number in touches]
        self.unknown_touches += sum(
            n >= 0 and vector is None for n, vector in zip(touches, touched, strict=True)
        )
        users = [user_name(user) for user in record.values]
        directions = self.profiles.take(shard, users, owners, times, touched, asks)
        return [NO_PROFILE if direction is None else direction for direction in directions]

    def _of_values(self, values: list[ItemId]) -> tuple[list[np.ndarray | str], list[ItemId | None]]:
        """Return the vector of each item or text, or why there is none, and what its answer leaves out."""
        if self.answerer.spec.query.kind == "text":
            vectors = self._encoder.encode(values)
            return [vector if vector.any() else EMPTY_TEXT for vector in vectors], [None] * len(values)
        vectors, there = self.catalogue.vectors_of(values)
        return [vector if is_there else UNKNOWN_ITEM
                for vector, is_there in zip(vectors, there, strict=True)], list(values)  # fmt: skip

    def _search(
        self, vectors: list[np.ndarray | str], leave_out: list[ItemId | None]
    ) -> tuple[list[bytes], list[str | None]]:
        """Return the items of each answer as JSON, and the reason where there are none."""
        reasons: list[str | None] = [vector if isinstance(vector, str) else None for vector in vectors]
        items = [NO_ITEMS] * len(vectors)
        which = [number for number, reason in enumerate(reasons) if reason is None]
        if which:
            began = time.perf_counter()
            queries = np.stack([vectors[number] for number in which])
            found = self.catalogue.search(
                queries, self.answerer.spec.k, [leave_out[number] for number in which]
            )
            self.search_s += time.perf_counter() - began
            for number, ids, scores in zip(which, found.items, found.scores, strict=True):
                items[number] = items_json(ids, scores)
                if not ids:
                    reasons[number] = NO_ITEMS_YET
        return items, reasons
