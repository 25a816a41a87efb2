"""Catalogues against a full search in numpy: while they change, while others change them, and at any size."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from itertools import count

import numpy as np
import pytest
from similar_entries import clustered, nearest, unit

from operators.similar import catalogue as module
from operators.similar.catalogue import Catalogue
from operators.similar.index import RECALL_GOAL, build_index, flat_search

Items = dict[str, np.ndarray]


def found(
    catalogue: Catalogue, query: np.ndarray, k: int, without: str | None = None
) -> list[tuple[str, float]]:
    answers = catalogue.search(query[None, :], k, [without])
    return list(zip(answers.items[0], answers.scores[0], strict=True))


def filled(vectors: np.ndarray, **options: object) -> tuple[Catalogue, Items]:
    catalogue = Catalogue(vectors.shape[1], **options)
    items = {f"i{n:05}": vector for n, vector in enumerate(vectors)}
    for item, vector in items.items():
        catalogue.put(item, vector)
    return catalogue, items


def expect_the_same(told: list[tuple[str, float]], expected: list[tuple[str, float]]) -> None:
    assert [item for item, _ in told] == [item for item, _ in expected]
    assert [score for _, score in told] == pytest.approx([score for _, score in expected], abs=2e-6)


def recall(catalogue: Catalogue, items: Items, queries: np.ndarray, k: int = 10) -> float:
    answers = catalogue.search(queries, k, [None] * len(queries)).items
    names, matrix = list(items), np.stack(list(items.values()))
    best = np.argsort(-(queries @ matrix.T), axis=1)[:, :k]
    return float(np.mean([len({names[n] for n in row} & set(own)) / k
                          for row, own in zip(best, answers, strict=True)]))  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
def test_a_small_catalogue_finds_what_a_full_search_finds_whatever_was_changed(seed: int) -> None:
    chance, numbers = random.Random(seed), np.random.default_rng(seed)
    catalogue, items = Catalogue(6), {}
    for _ in range(600):
        item = f"i{chance.randrange(80)}"
        if chance.random() < 0.4:
            items.pop(item, None)
            catalogue.remove(item)
        else:
            items[item] = unit(numbers.normal(size=6))[0]
            catalogue.put(item, items[item])
        query, k = unit(numbers.normal(size=6))[0], chance.randrange(1, 12)
        expect_the_same(found(catalogue, query, k), nearest(items, query, k))
        if item in items:
            own = items[item]
            expect_the_same(found(catalogue, own, k, item), nearest(items, own, k, item))
    assert len(catalogue) == len(items) and (catalogue.kind, catalogue.recall) == ("flat", 1.0)


def test_equal_scores_are_told_by_id_and_the_score_of_what_is_opposite_is_minus_one() -> None:
    catalogue = Catalogue(2)
    for item in ("c", "a", "b"):
        catalogue.put(item, unit([1, 0])[0])
    catalogue.put("z", unit([-1, 0])[0])
    query = unit([1, 0])[0]
    assert found(catalogue, query, 4) == [("a", 1.0), ("b", 1.0), ("c", 1.0), ("z", -1.0)]
    assert found(catalogue, query, 2, "a") == [("b", 1.0), ("c", 1.0)]


def test_an_empty_catalogue_and_one_with_the_item_alone_find_nothing() -> None:
    catalogue = Catalogue(2)
    assert found(catalogue, unit([1, 0])[0], 5) == []
    catalogue.put("a", unit([1, 0])[0])
    assert found(catalogue, unit([1, 0])[0], 5, "a") == []
    catalogue.remove("a")
    catalogue.remove("a")
    assert found(catalogue, unit([1, 0])[0], 5) == [] and len(catalogue) == 0


def test_vectors_of_items_are_those_that_were_put_last() -> None:
    catalogue = Catalogue(2)
    catalogue.put("a", unit([1, 0])[0])
    catalogue.put("a", unit([0, 1])[0])
    vectors, there = catalogue.vectors_of(["b", "a", None])
    assert there.tolist() == [False, True, False] and vectors.tolist() == [[0, 0], [0, 1], [0, 0]]


@pytest.mark.parametrize("kind", ["ivf", "hnsw"])
@pytest.mark.parametrize("blend", [1, 3])
def test_an_index_finds_nearly_all_and_knows_how_many(kind: str, blend: int) -> None:
    vectors = clustered(6000, 16, 60, seed=3)
    index = build_index(vectors, kind, blend)
    chance = np.random.default_rng(8)
    queries = unit(vectors[chance.integers(0, len(vectors), (500, blend))].sum(axis=1))
    best = np.argsort(-(queries @ vectors.T), axis=1)[:, :10]
    rows = index.search(queries, 10)
    real = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(rows.tolist(), best.tolist(), strict=True)])
    assert (index.kind, index.size) == (kind, 6000)
    assert index.recall >= RECALL_GOAL and real == pytest.approx(index.recall, abs=0.02)


def test_vectors_without_groups_get_a_graph_where_lists_would_all_have_to_be_read() -> None:
    assert build_index(clustered(10_000, 16, 10_000, seed=1, spread=3), "auto", 1).kind == "hnsw"
    assert build_index(clustered(10_000, 32, 150, seed=1, spread=0.2), "auto", 1).kind == "ivf"


def test_where_no_effort_is_enough_the_recall_is_told_as_it_is() -> None:
    hard = unit(np.random.default_rng(5).normal(size=(4000, 64)))
    index = build_index(hard, "hnsw", 3)
    rows = index.search(hard[:300], 10)
    real = flat_search(hard, hard[:300], 10)[1]
    measured = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(rows.tolist(), real.tolist(), strict=True)])
    assert 0 < index.recall <= 1 and measured >= index.recall - 0.1


@pytest.mark.parametrize("kind", ["auto", "ivf", "hnsw"])
def test_an_indexed_catalogue_finds_what_was_changed_since_and_nothing_that_is_gone(kind: str) -> None:
    catalogue, items = filled(clustered(3000, 16, 30, seed=6), index=kind, flat_below=2000)
    catalogue.settle()
    assert catalogue.kind in ("ivf", "hnsw") and catalogue.builds == 1
    chance, numbers = random.Random(6), np.random.default_rng(6)
    gone: set[str] = set()
    for n in range(700):  # fewer changes than make another index due
        item = chance.choice(sorted(items)) if chance.random() < 0.7 else f"new {n}"
        if chance.random() < 0.4 and item in items:
            vector = items.pop(item)
            catalogue.remove(item)
            gone.add(item)
            assert item not in catalogue.search(vector[None, :], 20, [None]).items[0]
        else:
            items[item] = unit(numbers.normal(size=16))[0]
            catalogue.put(item, items[item])
            gone.discard(item)
            assert found(catalogue, items[item], 1)[0][1] == pytest.approx(1, abs=1e-5)
    assert catalogue.builds == 1 and len(catalogue) == len(items)
    queries = np.stack([items[item] for item in chance.sample(sorted(items), 200)])
    assert recall(catalogue, items, queries) >= 0.95
    everything = catalogue.search(queries, 50, [None] * len(queries)).items
    assert not gone & {item for own in everything for item in own}
    assert all(len(set(own)) == 50 for own in everything)


def test_where_all_that_is_near_is_gone_the_rest_is_compared_one_by_one() -> None:
    vectors = clustered(4000, 16, 40, seed=7, spread=0.05)
    catalogue, items = filled(vectors, index="ivf")
    catalogue.settle()
    middle = vectors[0]
    near = [item for item, _ in nearest(items, middle, 90)]
    for item in near:
        catalogue.remove(item)
        del items[item]
    assert catalogue.builds == 1 and catalogue.kind == "ivf"
    expect_the_same(found(catalogue, middle, 40), nearest(items, middle, 40))


def test_more_changes_than_a_share_make_another_index_which_knows_what_changed_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    catalogue, items = filled(clustered(3000, 8, 30, seed=8), flat_below=1000)
    catalogue.settle()
    may_go_on, begun = threading.Event(), threading.Event()

    def slowly(*arguments: object) -> object:
        begun.set()
        may_go_on.wait(30)
        return build_index(*arguments)

    monkeypatch.setattr(module, "build_index", slowly)
    more = clustered(1200, 8, 5, seed=9)
    for n, vector in enumerate(more):
        items[f"more {n}"] = vector
        catalogue.put(f"more {n}", vector)
    found(catalogue, more[0], 1)
    assert begun.wait(30)
    catalogue.remove("more 0")
    del items["more 0"]
    items["i00000"] = more[0]
    catalogue.put("i00000", more[0])
    catalogue.remove("i00001")
    catalogue.put("i00001", items["i00001"])
    catalogue.remove("i02999")
    del items["i02999"]
    assert found(catalogue, more[0], 1) == [("i00000", 1.0)] and catalogue.builds == 1
    may_go_on.set()
    catalogue.settle()
    assert catalogue.builds == 2
    assert found(catalogue, more[0], 1) == [("i00000", 1.0)]
    expect_the_same(found(catalogue, items["i00001"], 1), nearest(items, items["i00001"], 1))
    queries = np.stack(list(items.values())[::20])
    assert recall(catalogue, items, queries) >= 0.95
    assert not {"more 0", "i02999"} & {i for own in catalogue.search(queries, 30, [None] * len(queries)).items
                                       for i in own}  # fmt: skip


def test_a_catalogue_that_shrinks_is_compared_as_a_whole_again() -> None:
    catalogue, items = filled(clustered(3000, 8, 30, seed=10), flat_below=2000)
    catalogue.settle()
    assert catalogue.kind != "flat"
    for item in list(items)[:2100]:
        catalogue.remove(item)
        del items[item]
    query = next(iter(items.values()))
    expect_the_same(found(catalogue, query, 5), nearest(items, query, 5))
    assert (catalogue.kind, catalogue.recall) == ("flat", 1.0)


def test_an_index_that_cannot_be_built_is_an_error_and_no_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise MemoryError("no room")

    monkeypatch.setattr(module, "build_index", broken)
    catalogue, _ = filled(clustered(3000, 8, 30, seed=11), flat_below=2000)
    with pytest.raises(MemoryError, match="no room"):
        catalogue.settle()


def test_a_flat_catalogue_stays_one_at_any_size() -> None:
    catalogue, _ = filled(clustered(7000, 4, 30, seed=12), index="flat")
    catalogue.settle()
    assert (catalogue.kind, catalogue.builds) == ("flat", 0)


def test_a_catalogue_is_right_while_another_thread_changes_it() -> None:
    """Whatever a search may see: nothing that was taken away before it began, all that was put before."""
    vectors = clustered(4000, 16, 40, seed=13)
    catalogue, _ = filled(vectors, flat_below=2000)
    catalogue.settle()
    fresh = unit(np.random.default_rng(14).normal(size=(30_000, 16)))
    gone: set[str] = set()
    begun: Counter[str] = Counter()
    latest: dict[str, np.ndarray] = {}
    stop, problems = threading.Event(), []

    def change() -> None:
        chance = random.Random(15)
        try:
            for n in count():
                if stop.is_set():
                    return
                vector = fresh[n % len(fresh)]
                item = f"i{chance.randrange(6000):05}"
                latest.pop(item, None)
                if chance.random() < 0.4:
                    catalogue.remove(item)
                    gone.add(item)
                else:
                    begun[item] += 1
                    gone.discard(item)
                    catalogue.put(item, vector)
                    latest[item] = vector
                if n % 50 == 0:
                    time.sleep(0.001)
        except Exception as problem:
            problems.append(problem)

    thread = threading.Thread(target=change)
    thread.start()
    deadline, searches = time.monotonic() + 120, 0
    queries = np.concatenate([vectors[:50], fresh[:50]])
    while catalogue.builds < 4 and time.monotonic() < deadline and thread.is_alive():
        begun_before, gone_before = begun.copy(), gone.copy()
        answers = catalogue.search(queries, 10, [None] * len(queries)).items
        told = {item for own in answers for item in own}
        stale = {item for item in told & gone_before if begun[item] == begun_before[item]}
        assert not stale, stale
        for item, vector in list(latest.copy().items())[-3:]:
            best = found(catalogue, vector, 1)
            assert latest.get(item) is not vector or best[0][1] == pytest.approx(1, abs=1e-5)
        searches += 1
    stop.set()
    thread.join()
    assert not problems and searches > 20 and catalogue.builds >= 4
    answers = catalogue.search(fresh[:2000], 20, [None] * 2000).items
    assert not gone & {item for own in answers for item in own}
    for item, vector in latest.items():
        assert item in {i for i, score in found(catalogue, vector, 20) if score > 0.9999}
