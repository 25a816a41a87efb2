"""Items as they come: what is read, and why what cannot be used is refused."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from operator_chain import Context
from similar_entries import answerer, entry, plan, unit

from operators.plan import Plan
from operators.similar.item_lines import (
    BadItem,
    ItemChange,
    ItemReader,
    ItemsProblem,
    read_files,
    reject,
    unit_vector,
)
from operators.similar.similar_function import ItemFileCheck
from operators.similar.similar_spec import FileItems


def read(line: Any, key: bytes | None = None, **options: Any) -> ItemChange:
    data = line if isinstance(line, bytes) else json.dumps(line).encode()
    return ItemReader(answerer(**options)).read(data, key)


def test_a_vector_is_given_length_one_and_keeps_its_direction() -> None:
    for given in ([3, 4], [3e300, 4e300], [3e-320, 4e-320], [0.6, 0.8], [-3, -4]):
        change = read({"item_id": "a", "vector": given})
        assert change.item == "a" and change.vector.dtype == np.float32
        expected = np.sign(given[0]) * np.array([0.6, 0.8])
        assert change.vector == pytest.approx(expected, rel=1e-3 if abs(given[0]) < 1e-300 else 1e-6)


def test_keys_are_those_that_the_entry_names_and_all_others_are_ignored() -> None:
    change = read({"id": "a", "embedding": [0, 2], "title": "x"}, item="id", vector="embedding")
    assert (change.item, change.vector.tolist()) == ("a", [0.0, 1.0])


def test_ids_are_whole_numbers_where_the_column_that_names_items_is_a_long() -> None:
    options = {"query": {"item": "n"}}
    assert read({"item_id": 7, "vector": [1, 0]}, **options).item == 7
    assert ItemReader(answerer(**options)).read(None, b"-7") == ItemChange(-7, None)
    assert read({"vector": [1, 0]}, b"7", **options).item == 7


def test_the_key_of_a_message_names_the_item_where_its_value_does_not() -> None:
    assert read({"vector": [1, 0]}, b"caf\xc3\xa9").item == "caf\u00e9"
    assert read({"item_id": "a", "vector": [1, 0]}, b"b").item == "a"
    assert read({"item_id": None, "vector": [1, 0]}, b"b").item == "b"


def test_an_item_goes_by_a_message_without_value_or_a_null_vector() -> None:
    assert ItemReader(answerer()).read(None, b"a") == ItemChange("a", None)
    assert read({"item_id": "a", "vector": None}) == ItemChange("a", None)
    assert read({"item_id": "a", "text": None}, text="text") == ItemChange("a", None)


def test_a_vector_is_made_from_text_where_the_entry_says_so() -> None:
    one, other = (
        read({"item_id": "a", "title": t}, text="title", dimension=64).vector for t in ("tea", "te")
    )
    assert np.linalg.norm(one) == pytest.approx(1) and 0 < one @ other < 1


@pytest.mark.parametrize(
    ("line", "reason", "detail"),
    [
        (b"{", "bad_item", "expected a JSON object, got none"),
        (b"\xff", "bad_item", "expected a JSON object, got none"),
        (b"[" * 100_000, "bad_item", "expected a JSON object, got none"),
        (b"[1]", "bad_item", "expected a JSON object, got a list"),
        (b"3", "bad_item", "expected a JSON object, got a number"),
        ({"vector": [1, 2]}, "bad_item", "key item_id: is missing"),
        ({"item_id": None, "vector": [1, 2]}, "bad_item", "key item_id: is missing"),
        ({"item_id": 5, "vector": [1, 2]}, "bad_item", "key item_id: expected text, got a number"),
        ({"item_id": ["a"], "vector": [1, 2]}, "bad_item", "key item_id: expected text, got a list"),
        ({"item_id": "a"}, "bad_vector", "key vector: is missing"),
        ({"item_id": "a", "vector": "[1]"}, "bad_vector", "a list of 2 numbers, got text"),
        ({"item_id": "a", "vector": {"x": 1}}, "bad_vector", "a list of 2 numbers, got an object"),
        ({"item_id": "a", "vector": [1]}, "bad_vector", "a list of 2 numbers, got 1"),
        ({"item_id": "a", "vector": []}, "bad_vector", "a list of 2 numbers, got 0"),
        ({"item_id": "a", "vector": [1, 2, 3]}, "bad_vector", "a list of 2 numbers, got 3"),
        ({"item_id": "a", "vector": [1, "2"]}, "bad_vector", "got text in it"),
        ({"item_id": "a", "vector": [1, None]}, "bad_vector", "got null in it"),
        ({"item_id": "a", "vector": [1, True]}, "bad_vector", "got true or false in it"),
        ({"item_id": "a", "vector": [1, [2]]}, "bad_vector", "got a list in it"),
        ({"item_id": "a", "vector": [0, 0.0]}, "bad_vector", "not all of them 0"),
        (b'{"item_id": "a", "vector": [1, NaN]}', "bad_vector", "not finite"),
        (b'{"item_id": "a", "vector": [1, -Infinity]}', "bad_vector", "not finite"),
        (b'{"item_id": "a", "vector": [1, 1e999]}', "bad_vector", "not finite"),
        (b'{"item_id": "a", "vector": [1, 1' + b"0" * 400 + b"]}", "bad_vector", "not finite"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_refused_with_what_was_expected_and_got(
    line: Any, reason: str, detail: str
) -> None:
    with pytest.raises(BadItem) as caught:
        read(line)
    assert caught.value.reason == reason and detail in caught.value.detail, caught.value


@pytest.mark.parametrize(
    ("line", "key", "reason", "detail"),
    [
        ({"item_id": "7", "vector": [1, 2]}, None, "bad_item", "a whole number of 64 bits, got text"),
        ({"item_id": 1.0, "vector": [1, 2]}, None, "bad_item", "a whole number of 64 bits, got a number"),
        ({"item_id": True, "vector": [1, 2]}, None, "bad_item", "a whole number of 64 bits, got true or"),
        ({"item_id": 2**63, "vector": [1, 2]}, None, "bad_item", "a whole number of 64 bits"),
        ({"vector": [1, 2]}, b"x", "bad_item", "message key: expected a whole number"),
        ({"vector": [1, 2]}, b"\xff", "bad_item", "message key: expected text in UTF-8"),
    ],
)
def test_an_id_that_is_no_whole_number_is_refused_where_ids_are(
    line: Any, key: bytes | None, reason: str, detail: str
) -> None:
    with pytest.raises(BadItem) as caught:
        read(line, key, query={"item": "n"})
    assert caught.value.reason == reason and detail in caught.value.detail, caught.value


@pytest.mark.parametrize(
    ("given", "detail"), [(5, "expected text, got a number"), ("!?", "with a word"), ("", "with a word")]
)
def test_a_text_without_a_word_or_no_text_is_refused(given: Any, detail: str) -> None:
    with pytest.raises(BadItem) as caught:
        read({"item_id": "a", "title": given}, text="title")
    assert caught.value.reason == "bad_vector" and detail in caught.value.detail
    with pytest.raises(BadItem, match="key title: is missing"):
        read({"item_id": "a", "vector": [1, 2]}, text="title")


def test_a_message_without_value_and_key_is_refused() -> None:
    with pytest.raises(BadItem, match="key item_id: is missing"):
        ItemReader(answerer()).read(None, None)


def test_files_are_read_in_the_order_of_their_names_packed_or_not(tmp_path: Path) -> None:
    (tmp_path / "b.jsonl").write_text('{"item_id": "x", "vector": [0, 1]}\n\n  \nnope')
    with gzip.open(tmp_path / "a.jsonl.gz", "wb") as file:
        file.write(b'{"item_id": "x", "vector": [1, 0]}\r\n')
    items = FileItems(type="file", path=str(tmp_path / "*.jsonl*"))
    found = list(read_files(items, ItemReader(answerer())))
    assert [(position["file"].rpartition("/")[2], position["line"]) for _, position, _ in found] == [
        ("a.jsonl.gz", 1), ("b.jsonl", 1), ("b.jsonl", 4)
    ]  # fmt: skip
    assert [outcome.vector.tolist() for _, _, outcome in found[:2]] == [[1.0, 0.0], [0.0, 1.0]]
    assert isinstance(found[2][2], BadItem)


def test_no_file_and_one_that_cannot_be_read_are_told_by_key(tmp_path: Path) -> None:
    with pytest.raises(ItemsProblem, match=r"items\.path: no file matches '.*nowhere\.jsonl'"):
        list(read_files(FileItems(type="file", path=str(tmp_path / "nowhere.jsonl")), ItemReader(answerer())))
    (tmp_path / "torn.gz").write_bytes(gzip.compress(b'{"item_id": "x"}\n' * 50)[:40])
    with pytest.raises(ItemsProblem, match=r"torn\.gz cannot be read"):
        list(read_files(FileItems(type="file", path=str(tmp_path / "torn.gz")), ItemReader(answerer())))


def test_a_reject_says_why_for_what_and_where_it_is_from() -> None:
    told = json.loads(reject("like", BadItem("bad_vector", "why"), b"\xff", {"topic": "t", "offset": 3}))
    assert told == {
        "reason": "bad_vector", "detail": "why", "answer": "like", "payload_base64": "/w==",
        "topic": "t", "offset": 3,
    }  # fmt: skip


def test_lines_of_files_that_cannot_be_used_are_told_once_for_all_workers(tmp_path: Path) -> None:
    path = tmp_path / "items.jsonl"
    path.write_text('{"item_id": "a", "vector": [1, 1]}\n{"item_id": "b", "vector": [1]}\nnope\n')
    given = plan(
        entry(items={"type": "kafka"}), entry(name="other", items={"type": "file", "path": str(path)})
    )
    check = ItemFileCheck(Plan.model_validate(given).model_dump_json(exclude_unset=True))
    context = Context()
    check.open(context)
    told = [json.loads(text) for _, text in check.process_element(0, None)]
    rejects, totals = told[::2], told[1::2]
    assert [(r["reason"], r["answer"], r["line"]) for r in rejects] == [
        ("bad_vector", "other", 2), ("bad_item", "other", 3)
    ]  # fmt: skip
    assert totals == [{"events": 0, "rejects": {reason: 1}} for reason in ("bad_vector", "bad_item")]
    assert context.group.read() == {
        "rejected": 2,
        "reason=bad_vector/rejected_by_reason": 1,
        "reason=bad_item/rejected_by_reason": 1,
    }


def test_a_vector_of_zeros_has_no_direction() -> None:
    assert unit_vector(np.zeros(3)) is None
    assert unit_vector(np.array([0, 0, -2.0])).tolist() == [0, 0, -1]
    assert unit_vector(np.array([1e-300, 1e300])) == pytest.approx(unit([0, 1])[0])
