"""Answers to events, from ingest to the line: who is answered, with what, and what restarts keep."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine import Engine
from operator_chain import BroadcastMap, Operators
from pydantic import ValidationError
from similar_entries import DAY, PROFILE, clustered, entry, nearest, plan, unit, write_items

from operators.first_seen.history import HistoryProblem
from operators.plan import Plan
from operators.similar import similar_runner
from operators.similar.catalogue import Catalogue
from operators.similar.item_lines import ItemsProblem
from operators.similar.text_encoder import HashingEncoder
from state.profile_state import Profiles, ProfileState

ITEMS = {"a": [1, 0], "b": [1, 0.1], "c": [0, 1], "d": [-1, 0]}
STREAM = {"type": "kafka"}


@pytest.fixture
def path(tmp_path: Path) -> str:
    return write_items(tmp_path / "items.jsonl", ITEMS)


def of_file(path: str, **options: Any) -> dict[str, Any]:
    return entry(items={"type": "file", "path": path}, **options)


def event(t: int = 0, **fields: Any) -> dict[str, Any]:
    return {"user": "ann", "item": "a", "action": "view", "t": t} | fields


def told(answer: dict[str, Any]) -> list[tuple[str, float]]:
    return [(found["item"], found["score"]) for found in answer["items"]]


def test_an_event_is_answered_with_the_items_like_its_own_and_says_where_it_is_from(path: str) -> None:
    engine = Engine(plan(of_file(path)), follow=True)
    engine.send(event(5), event(7, item="d"))
    answers = {answer["query"]["item"]: answer for answer in engine.similar}
    score = round(1 / np.sqrt(1.01), 6)
    assert answers["a"] == {
        "answer": "like",
        "query": {"item": "a"},
        "event_time_ms": 5,
        "items": [
            {"item": "b", "score": pytest.approx(score, abs=1e-6)},
            {"item": "c", "score": 0.0},
            {"item": "d", "score": -1.0},
        ],
        "index": "flat",
        "recall": 1.0,
        "catalogue_items": 4,
        "topic": "events",
        "partition": "p0",
        "offset": 0,
    }
    assert [item for item, _ in told(answers["d"])] == ["c", "b", "a"] and answers["d"]["offset"] == 1


def test_an_unknown_item_is_answered_with_the_reason_and_an_event_without_one_asks_nothing(path: str) -> None:
    engine = Engine(plan(of_file(path)), follow=True)
    engine.send(event(item="nobody"), event(item=None))
    (answer,) = engine.similar
    assert (answer["items"], answer["reason"], answer["query"]) == ([], "unknown_item", {"item": "nobody"})


def test_only_events_that_meet_the_condition_are_answered_each_once_and_late_ones_too(path: str) -> None:
    engine = Engine(plan(of_file(path, where="action = 'view'", k=1)), follow=True)
    engine.send(event(10 * DAY), event(10 * DAY, action="buy"), event(10 * DAY))
    engine.send(event(0, item="b"))
    assert [(a["event_time_ms"], told(a)[0][0]) for a in engine.similar] == [
        (10 * DAY, "b"), (10 * DAY, "b"), (0, "a")
    ]  # fmt: skip
    assert engine.late and all(len(answer["items"]) == 1 for answer in engine.similar)


def test_lines_of_a_message_say_which_they_are(path: str) -> None:
    engine = Engine(plan(of_file(path)), follow=True, format="ndjson")
    lines = [json.dumps(event(n, item=item)) for n, item in enumerate(("a", "x", "b"))]
    engine.send_raw("\n".join(lines).encode())
    assert sorted((a["event_index"], a["query"]["item"]) for a in engine.similar) == [
        (0, "a"),
        (1, "x"),
        (2, "b"),
    ]


def test_ids_are_numbers_where_the_column_is_a_long(tmp_path: Path) -> None:
    path = write_items(tmp_path / "items.jsonl", {1: [1, 0], 10: [2, 0], 9: [3, 0], "2": [1, 0]})
    engine = Engine(plan(of_file(path, query={"item": "n"})), follow=True)
    engine.send(event(n=1))
    (answer,) = engine.similar
    assert answer["query"] == {"item": 1} and told(answer) == [(9, 1.0), (10, 1.0)]


def test_texts_are_answered_with_items_of_like_texts(tmp_path: Path) -> None:
    titles = {"t1": "Green tea", "t2": "Green teapot", "t3": "Running shoe", "t4": "red shoes"}
    path = write_items(tmp_path / "items.jsonl", titles, key="title")
    engine = Engine(
        plan(of_file(path, text="title", dimension=256, query={"text": "text"}, k=2)), follow=True
    )
    engine.send(event(text="green tea"), event(text="runing shoes"), event(text="!"), event(text=None))
    encode = HashingEncoder(256).encode
    items = dict(zip(titles, encode(list(titles.values())), strict=True))
    answers = {answer["query"]["text"]: answer for answer in engine.similar}
    for text in ("green tea", "runing shoes"):
        expected = nearest(items, encode([text])[0], 2)
        assert [item for item, _ in told(answers[text])] == [item for item, _ in expected]
    assert told(answers["green tea"])[0] == ("t1", 1.0)
    assert (answers["!"]["items"], answers["!"]["reason"]) == ([], "empty_text") and len(answers) == 3


def test_a_catalogue_without_items_says_so(tmp_path: Path) -> None:
    path = write_items(tmp_path / "items.jsonl", {})
    engine = Engine(plan(of_file(path, text="title", query={"text": "text"})), follow=True)
    engine.send(event(text="tea"))
    assert engine.similar[0]["reason"] == "empty_catalogue" and engine.similar[0]["catalogue_items"] == 0


def of_user(path: str, **options: Any) -> dict[str, Any]:
    return of_file(path, query={"user": "user"}, profile=PROFILE | options.pop("profile", {}), **options)


def test_a_user_is_answered_with_what_is_like_all_that_they_touched(path: str) -> None:
    engine = Engine(plan(of_user(path, k=2, where="action = 'ask'")), follow=True)
    engine.send(
        event(0, item="c"),
        event(DAY, item="a"),
        event(DAY, user="bob", item="d", action="ask"),
        event(DAY, item="nobody"),
        event(2 * DAY, item=None, action="ask"),
        event(2 * DAY, user="eve", item="nobody", action="ask"),
        event(2 * DAY, user=None, item="a", action="ask"),
    )
    answers = {answer["query"]["user"]: answer for answer in engine.similar}
    vectors = dict(zip(ITEMS, unit(list(ITEMS.values())), strict=True))
    for user, profile in (("ann", [1, 0.5]), ("bob", [-1, 0])):
        expected = nearest(vectors, unit(profile)[0], 2)
        assert told(answers[user]) == [(item, pytest.approx(score, abs=2e-6)) for item, score in expected]
    assert (answers["eve"]["items"], answers["eve"]["reason"]) == ([], "no_profile") and len(answers) == 3


def test_only_touches_that_meet_the_condition_count(path: str) -> None:
    engine = Engine(plan(of_user(path, k=1, profile={"where": "action = 'buy'"})), follow=True)
    engine.send(event(0, item="d"), event(1, item="c", action="buy"), event(2, item="d"))
    assert [answer.get("reason", told(answer)[:1]) for answer in engine.similar] == [
        "no_profile", [("c", 1.0)], [("c", 1.0)]
    ]  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
def test_profiles_are_those_of_all_touches_across_batches_shards_and_restarts(
    seed: int, tmp_path: Path
) -> None:
    chance = random.Random(seed)
    vectors = clustered(60, 8, 6, seed)
    items = {f"i{n}": vector for n, vector in enumerate(vectors)}
    path = write_items(tmp_path / "items.jsonl", {item: v.tolist() for item, v in items.items()})
    shape = plan(of_user(path, dimension=8, k=3, where="action = 'ask'"))
    engine, now, offset = Engine(shape, follow=True), 0, 0
    touches: dict[str, list[tuple[int, np.ndarray]]] = {}
    asked: dict[int, tuple[str, int]] = {}
    answers: list[dict[str, Any]] = []
    for _ in range(40):
        batch = []
        for _ in range(chance.randrange(1, 25)):
            now += chance.randrange(DAY // 20)
            user, item = f"u{chance.randrange(30)}", f"i{chance.randrange(70)}"
            action = chance.choice(["view", "ask"])
            batch.append(event(now, user=user, item=item, action=action))
            if item in items:
                touches.setdefault(user, []).append((now, items[item]))
            if action == "ask":
                asked[now] = (user, len(touches.get(user, ())))
            offset += 1
        engine.send(*batch)
        if chance.random() < 0.25:
            answers += engine.similar
            engine = Engine(shape, engine.snapshot(), follow=True, now_ms=engine.now_ms)
    answers += engine.similar
    assert len(answers) >= len(asked) > 150
    for answer in answers:
        user, count = asked[answer["event_time_ms"]]
        if answer["query"]["user"] != user:  # two events of one time
            continue
        known = touches.get(user, [])[:count]
        if not known:
            assert answer["reason"] == "no_profile"
            continue
        newest = max(t for t, _ in known)
        total = sum(v.astype(float) * 0.5 ** ((newest - t) / DAY) for t, v in known)
        expected = nearest(items, unit(total)[0], 3)
        assert [score for _, score in told(answer)] == pytest.approx([s for _, s in expected], abs=1e-4)


def test_touches_of_history_are_in_profiles_from_the_beginning_and_only_once(tmp_path: Path) -> None:
    path, chance = write_items(tmp_path / "items.jsonl", ITEMS), random.Random(3)
    touches = [(f"u{n % 9}", chance.choice("abcd"), n * DAY // 40) for n in range(200)]
    history = tmp_path / "touches.jsonl"
    lines = [{"who": user, "what": item, "ts": t} for user, item, t in touches]
    lines += [{"who": "eve", "what": "nobody", "ts": 5}, {"who": "eve", "ts": 5}, {"what": "a", "ts": 5}]
    history.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    given = {"path": str(history), "user": "who", "item": "what"}
    shape = plan(of_user(path, k=4, where="action = 'ask'", history=given, shards=1))
    engine, now = Engine(shape, follow=True), 6 * DAY
    for _ in range(3):
        for user, item in (("u1", "c"), ("u2", "c"), ("u8", None)):
            if item is not None:
                touches.append((user, item, now))
            engine.send(event(now, user=user, item=item), event(now, user=user, item=None, action="ask"))
            own = [(t, unit(ITEMS[item])[0].astype(float)) for name, item, t in touches if name == user]
            total = sum(vector * 0.5 ** ((now - t) / DAY) for t, vector in own)
            expected = nearest({i: unit(v)[0] for i, v in ITEMS.items()}, unit(total)[0], 4)
            assert [score for _, score in told(engine.similar[-1])] == pytest.approx(
                [score for _, score in expected], abs=1e-5
            )
            now += DAY // 7
        users = {name for (_, profiles) in stored_profiles(engine) for name in profiles.users}
        assert users == {f"u{n}".encode() for n in range(9)}
        engine = Engine(shape, engine.snapshot(), follow=True, now_ms=engine.now_ms)


def stored_profiles(engine: Engine) -> list[tuple[str, Profiles]]:
    """What is in state of each shard."""
    found = []
    for shard in [own for own, held in engine.maps["profiles"].shards.items() if held]:
        engine.maps["profiles"].shard = shard
        found.append((shard, ProfileState(engine.maps["profiles"], 2).shard(shard)))
    return found


def test_history_that_cannot_be_read_is_told_with_its_line(path: str, tmp_path: Path) -> None:
    history = tmp_path / "touches.csv"
    history.write_text("user,item,ts\nann,a,1\nann,a,soon\n")
    given = of_user(path, history={"path": str(history), "format": "csv"})
    with pytest.raises(HistoryProblem, match=r"touches\.csv, line 3: wrong_type: field time"):
        Engine(plan(given))
    history.write_text("user,user,ts\nann,a,1\n")
    with pytest.raises(
        HistoryProblem,
        match=r"touches\.csv cannot be read: field user: expected a column of user \(column 1\)",
    ):
        Engine(plan(given))
    history.write_text("user,item,ts\nann,a,1\n")
    engine = Engine(plan(given), follow=True)
    engine.send(event(2, item=None))
    assert told(engine.similar[0])[0] == ("a", 1.0)
    with pytest.raises(HistoryProblem, match=r"history\.path: no file matches"):
        Engine(plan(of_user(path, history={"path": str(tmp_path / "nowhere")})))


def test_items_that_cannot_be_read_are_told_by_key(tmp_path: Path) -> None:
    with pytest.raises(ItemsProblem, match=r"similar\.like\.items\.path: no file matches"):
        Engine(plan(of_file(str(tmp_path / "nowhere.jsonl"))))


def streamed(**options: Any) -> Plan:
    return Plan.model_validate(plan(entry(items=STREAM, **options)))


def send(running: Operators, item: str, vector: Any, key: bytes | None = None) -> None:
    running.send_item("like", key, json.dumps({"item_id": item, "vector": vector}).encode())


def ask(running: Operators, item: str) -> dict[str, Any]:
    running.send(json.dumps(event(item=item)).encode())
    return running.answers[-1]


def test_items_of_a_stream_are_added_replaced_and_taken_away_from_the_next_event_on() -> None:
    running = Operators(streamed())
    assert ask(running, "a")["reason"] == "unknown_item"
    for item, vector in ITEMS.items():
        send(running, item, vector)
    assert [item for item, _ in told(ask(running, "a"))] == ["b", "c", "d"]
    send(running, "d", [1, 0])
    assert told(ask(running, "a"))[0] == ("d", 1.0)
    running.send_item("like", b"d", None)
    send(running, "b", None)
    assert told(ask(running, "a")) == [("c", 0.0)] and ask(running, "d")["reason"] == "unknown_item"
    assert ask(running, "a")["catalogue_items"] == 2


def test_the_items_of_a_stream_are_there_again_after_a_restart() -> None:
    running = Operators(streamed(query={"item": "n"}))
    for item in (1, 2, 3, -4):
        send(running, item, [1, item])
    running.send_item("like", b"2", None)
    again = Operators(streamed(query={"item": "n"}), items=BroadcastMap(running.items))
    again.send(json.dumps(event(n=1)).encode())
    assert [item for item, _ in told(again.answers[0])] == [3, -4]
    send(again, 5, [1, 1])  # the first that comes may be an item
    assert len(again.items) == 4


def test_items_of_an_entry_that_is_gone_are_passed_over() -> None:
    running = Operators(streamed())
    send(running, "a", [1, 0])
    send(running, "b", [1, 0])
    renamed = Plan.model_validate(plan(entry(items=STREAM, name="other")))
    assert ask(Operators(renamed, items=BroadcastMap(running.items)), "a")["reason"] == "unknown_item"


def test_a_message_that_is_no_item_is_a_reject_with_its_place_and_changes_nothing() -> None:
    running = Operators(streamed())
    send(running, "a", [1, 0])
    running.send_item("like", b"a", b'{"vector": [1]}', offset=8)
    running.send_item("like", None, None, offset=9)
    where = ("reason", "topic", "partition", "offset", "answer")
    assert [tuple(reject[key] for key in where) for reject in running.item_rejects] == [
        ("bad_vector", "like", 0, 8, "like"),
        ("bad_item", "like", 0, 9, "like"),
    ]
    assert len(running.items) == 1


def test_what_an_entry_does_is_told_in_metrics(path: str) -> None:
    running = Operators(Plan.model_validate(plan(of_user(path, where="action = 'ask'"))))
    events = [event(0), event(1, item="x"), event(2, action="ask")]
    events.append(event(3, user="eve", item=None, action="ask"))
    running.send(*(json.dumps(one).encode() for one in events))
    read = {name.removeprefix("answer=like/"): value for name, value in running.read().items()
            if name.startswith("answer=like/")}  # fmt: skip
    assert read.pop("search_us") > 0
    held = [own for shard in running.context.maps["profiles"].shards.values() for own in shard.items()]
    assert read.pop("profile_state_bytes") == sum(len(key) + len(value) for key, value in held) > 0
    assert read.pop("catalogue_bytes") >= 4 * 2 * 4
    assert read == {
        "answers": 2, "catalogue_items": 4, "index_recall_ppm": 1_000_000, "index_builds": 0, "profiles": 1,
        "unknown_touches": 1, "reason=no_profile/unanswered": 1,
    }  # fmt: skip


def test_a_large_catalogue_of_a_file_has_its_index_before_the_first_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(similar_runner, "Catalogue", lambda *options: Catalogue(*options, flat_below=1500))
    vectors = clustered(2000, 8, 20, seed=2)
    path = write_items(tmp_path / "items.jsonl", {f"i{n}": v.tolist() for n, v in enumerate(vectors)})
    engine = Engine(plan(of_file(path, dimension=8)), follow=True)
    engine.send(event(item="i7"))
    (answer,) = engine.similar
    assert answer["index"] in ("ivf", "hnsw") and 0.9 < answer["recall"] <= 1
    expected = nearest({f"i{n}": v for n, v in enumerate(vectors)}, vectors[7], 10, "i7")
    assert len(dict(told(answer)).keys() & dict(expected).keys()) >= 8 and "i7" not in dict(told(answer))


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"query": {}}, "expected one of item, text and user, got none"),
        (
            {"query": {"item": "item", "text": "text"}},
            "expected one of item, text and user, got item and text",
        ),
        ({"query": {"item": "nobody"}}, "similar.like.query.item: there is no column 'nobody'"),
        ({"query": {"item": "ok"}}, "similar.like.query.item: similar takes string or long, but"),
        ({"query": {"text": "text"}}, "query.text: needs text, the key that"),
        ({"query": {"text": "n"}, "text": "title"}, "similar.like.query.text: similar takes string, but"),
        ({"text": "title", "vector": "v"}, "expected one of vector and text, got both"),
        ({"query": {"user": "user"}}, "query.user: needs profile"),
        ({"profile": PROFILE}, "profile: is used by query.user only"),
        ({"query": {"user": "text"}, "profile": PROFILE}, "query.user: expected 'user', the column that"),
        (
            {"query": {"user": "user"}, "profile": PROFILE | {"touched": "x"}},
            "similar.like.profile.touched: there is no column 'x'",
        ),
        (
            {"query": {"user": "user"}, "profile": PROFILE | {"where": "n ="}},
            "similar.like.profile.where: ",
        ),
        ({"history": {"path": "x"}}, "history: needs profile"),
        (
            {"query": {"user": "user"}, "profile": PROFILE, "history": {"path": "x"}, "items": STREAM},
            "history: needs items of type file",
        ),
        ({"where": "n + 1"}, "similar.like.where: "),
        ({"dimension": 1}, "greater than or equal to 2"),
        ({"k": 0}, "greater than or equal to 1"),
        ({"index": "exact"}, "Input should be 'auto', 'flat', 'hnsw' or 'ivf'"),
        ({"name": "a b"}, "should match pattern"),
    ],
)
def test_what_cannot_be_is_refused_by_key(options: dict[str, Any], named: str) -> None:
    given = plan(entry(**options))
    given["event"]["fields"] = given["event"]["fields"] | {"ok": "bool"}
    with pytest.raises(ValidationError) as caught:
        Plan.model_validate(given)
    assert named in str(caught.value)


def test_names_of_entries_differ() -> None:
    with pytest.raises(ValidationError, match="similar: expected different names, got 'like' twice"):
        Plan.model_validate(plan(entry(), entry()))
