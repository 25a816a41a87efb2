"""Touches that were before the first event, read from files by each worker into profiles."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from operators.batch.event_batch import hashes_of
from operators.first_seen.history import history_frames
from operators.shard_keys import shard_key
from operators.similar.answerer import Answerer, shards_of
from operators.similar.catalogue import Catalogue
from operators.similar.profiles import add_touch, user_name
from state.profile_state import Profiles

_USER, _ITEM, _TIME = "user", "item", "time"


def profiles_before(answerer: Answerer, catalogue: Catalogue) -> dict[str, Profiles]:
    """Read the history of an entry of `similar`.

    Lines that lack a user, an item or a time, and those of items that the catalogue does not have, count
    nothing.

    Args:
        answerer: the entry, which has a history.
        catalogue: its items.

    Returns:
        Users' profiles by shard.

    Raises:
        HistoryProblem: a file cannot be read, or a line of it is not as it should be.
    """
    spec, history = answerer.spec, answerer.spec.history
    fields = {
        _USER: (history.user, answerer.query_type),
        _ITEM: (history.item, answerer.id_type),
        _TIME: (history.time, "long"),
    }
    found: defaultdict[str, Profiles] = defaultdict(lambda: Profiles(spec.dimension))
    for frame in history_frames(history.path, history.format, fields):
        whole = frame.drop_nulls()
        users, items = whole[_USER].to_list(), whole[_ITEM].to_list()
        vectors, there = catalogue.vectors_of(items)
        shards = shards_of(hashes_of(whole[_USER]), spec)
        times = whole[_TIME].to_list()
        for row in np.flatnonzero(there).tolist():
            profiles = found[shard_key(answerer.stream, int(shards[row]))]
            add_touch(profiles, user_name(users[row]), times[row], vectors[row], spec.profile.half_life)
    return dict(found)
