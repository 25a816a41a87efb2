"""What `--from` finds: the newest whole checkpoint or savepoint since the pipeline was begun."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from flink_job.pipeline.reading import PipelineProblem
from flink_job.pipeline.spec import Pipeline
from flink_job.runs.began import began_file, write_began
from flink_job.runs.checkpoints import latest, restore_point, savepoint_folder

BEGAN_S = 1_000_000


@pytest.fixture()
def pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    monkeypatch.chdir(tmp_path)
    return made()


def made(**checkpoints: str) -> Pipeline:
    return Pipeline.model_validate(
        {
            "name": "shop",
            "source": {"type": "simulator"},
            "checkpoints": checkpoints,
            "event": {"fields": {"u": "string", "ts": "long"}, "time": {"field": "ts", "unit": "ms"}},
            "metrics": [{"name": "n", "kind": "count", "windows": [{"tumbling": "1m"}]}],
        }
    )


def leave(folder: Path, at_s: float, name: str = "_metadata") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).touch()
    os.utime(folder / name, (at_s, at_s))
    return folder


def begin(pipeline: Pipeline, at_s: float) -> Path:
    pipeline.run_folder().mkdir(parents=True, exist_ok=True)
    write_began(pipeline)
    os.utime(began_file(pipeline), (at_s, at_s))
    return pipeline.run_folder() / "checkpoints"


def test_latest_is_the_newest_of_all_checkpoints_and_savepoints(pipeline: Pipeline) -> None:
    checkpoints = begin(pipeline, BEGAN_S)
    leave(checkpoints / "job1" / "chk-9", BEGAN_S + 10)
    newest = leave(checkpoints / "job2" / "chk-2", BEGAN_S + 30)
    leave(checkpoints / "savepoints" / "savepoint-1", BEGAN_S + 20)
    assert restore_point(pipeline, "latest") == newest.as_uri()
    saved = leave(checkpoints / "savepoints" / "savepoint-2", BEGAN_S + 31)
    assert latest(pipeline) == saved


def test_a_checkpoint_that_was_not_finished_is_none(pipeline: Pipeline) -> None:
    checkpoints = begin(pipeline, BEGAN_S)
    whole = leave(checkpoints / "job1" / "chk-1", BEGAN_S + 10)
    leave(checkpoints / "job1" / "chk-2", BEGAN_S + 20, "part-of-it")
    assert latest(pipeline) == whole


def test_what_is_from_before_the_beginning_belongs_to_another_run(pipeline: Pipeline) -> None:
    checkpoints = begin(pipeline, BEGAN_S)
    leave(checkpoints / "job0" / "chk-7", BEGAN_S - 1)
    with pytest.raises(PipelineProblem, match=r"there is no checkpoint of shop in .*; run it without --from"):
        latest(pipeline)


def test_a_pipeline_that_never_ran_has_nothing_to_go_on_from(pipeline: Pipeline) -> None:
    with pytest.raises(PipelineProblem, match="there is no checkpoint of shop"):
        restore_point(pipeline, "latest")


def test_a_path_and_a_file_uri_name_the_same_checkpoint(pipeline: Pipeline, tmp_path: Path) -> None:
    folder = leave(tmp_path / "with blank" / "chk-1", BEGAN_S)
    for wanted in (str(folder), "with blank/chk-1", folder.as_uri()):
        assert restore_point(pipeline, wanted) == folder.as_uri()


def test_a_path_that_holds_no_checkpoint_is_refused(pipeline: Pipeline, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for wanted in ("empty", "nowhere", (tmp_path / "empty").as_uri()):
        with pytest.raises(
            PipelineProblem, match=r"--from: .* is no checkpoint or savepoint: it has no file _metadata"
        ):
            restore_point(pipeline, wanted)


def test_another_file_system_is_left_to_flink_but_latest_cannot_be_found_there(pipeline: Pipeline) -> None:
    assert restore_point(pipeline, "s3://bucket/chk-1") == "s3://bucket/chk-1"
    with pytest.raises(PipelineProblem, match="checkpoints are in s3://bucket/c; name the one to go on from"):
        restore_point(made(dir="s3://bucket/c"), "latest")


@pytest.mark.parametrize("wanted", ["gopher://bucket/chk-1", "s3:///chk-1", "http://host/chk-1"])
def test_a_file_system_that_flink_has_not_is_refused(pipeline: Pipeline, wanted: str) -> None:
    with pytest.raises(
        PipelineProblem, match=r"^--from: expected a (URI that begins with|bucket or container)"
    ):
        restore_point(pipeline, wanted)


def test_savepoints_are_beside_the_checkpoints(pipeline: Pipeline, tmp_path: Path) -> None:
    assert savepoint_folder(pipeline) == (tmp_path / ".sketchstream/shop/checkpoints/savepoints").as_uri()
    assert savepoint_folder(made(dir="s3://bucket/c/")) == "s3://bucket/c/savepoints"
    elsewhere = made(dir=(tmp_path / "elsewhere").as_uri())
    begin(elsewhere, BEGAN_S)
    saved = leave(tmp_path / "elsewhere" / "savepoints" / "savepoint-1", BEGAN_S + 1)
    assert latest(elsewhere) == saved


def changed(metrics: list[dict[str, object]], **keys: object) -> Pipeline:
    windows = [{"tumbling": "1m"}]
    document = made().model_dump(mode="json", by_alias=True, exclude_unset=True)
    return Pipeline.model_validate(
        document | {"metrics": [{"windows": windows, **metric} for metric in metrics]} | keys
    )


USERS = {"name": "users", "kind": "distinct", "of": "u", "lg_k": 12}
ASKED = {"name": "asked", "kind": "frequency", "of": "u", "ask": ["a"]}


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ({**USERS, "lg_k": 14}, "metrics.users.lg_k: was 12 when the run began, is 14 now"),
        ({**USERS, "by": ["u"]}, r"metrics.users.by: was \[\] when the run began, is \['u'\] now"),
        ({**USERS, "where": "u != ''"}, "metrics.users.where: was None"),
        ({**USERS, "windows": [{"tumbling": "2m"}]}, "metrics.users.windows: was"),
        ({"name": "users", "kind": "count"}, "metrics.users.kind: was 'distinct'"),
    ],
)
def test_a_metric_whose_state_would_be_read_as_another_is_refused(pipeline, metric, message) -> None:
    begun = changed([USERS, ASKED])
    leave(begin(begun, BEGAN_S) / "job1" / "chk-1", BEGAN_S + 1)
    with pytest.raises(PipelineProblem, match=message):
        restore_point(changed([metric]), "latest")


@pytest.mark.parametrize("had", [{"emit_every": "5s"}, {"allowed_lateness": "1m"}])
def test_a_metric_that_counted_revisions_must_go_on_to(pipeline, had) -> None:
    begun = changed([USERS, ASKED], **had)
    newest = leave(begin(begun, BEGAN_S) / "job1" / "chk-1", BEGAN_S + 1)
    with pytest.raises(
        PipelineProblem, match=r"metrics\.users: had emit_every or allowed_lateness when the run"
    ):
        restore_point(changed([USERS, ASKED]), "latest")
    assert restore_point(changed([USERS], allowed_lateness="2m"), "latest") == newest.as_uri()


TRENDS = {"name": "trends", "kind": "trending", "of": "u", "against": "1h"}


def test_what_a_window_is_held_against_may_not_change_but_how_much_is_told_may(pipeline) -> None:
    newest = leave(begin(changed([TRENDS]), BEGAN_S) / "job1" / "chk-1", BEGAN_S + 1)
    with pytest.raises(PipelineProblem, match=r"metrics\.trends\.against: was '1h' when the run began"):
        restore_point(changed([TRENDS | {"against": "2h"}]), "latest")
    assert restore_point(changed([TRENDS | {"k": 3, "least": 9}]), "latest") == newest.as_uri()


PAIRS = {"name": "pairs", "kind": "top_pairs", "of": "ts", "within": "u"}
STEPS = [{"name": "a", "where": "ts > 1"}, {"name": "b", "where": "ts > 2"}]
FUNNEL = {"name": "far", "kind": "funnel", "of": "u", "within": "1d", "steps": STEPS}


@pytest.mark.parametrize(
    ("metric", "key"),
    [
        ({**PAIRS, "within": "ts"}, "within"),
        ({**PAIRS, "gap": "1m"}, "gap"),
        ({**PAIRS, "max_items": 9}, "max_items"),
        ({**PAIRS, "lg_max_map_size": 9}, "lg_max_map_size"),
        ({**PAIRS, "entity_shards": 9}, "entity_shards"),
        ({**FUNNEL, "within": "2d"}, "within"),
        ({**FUNNEL, "steps": [STEPS[0], {"name": "b", "where": "ts > 3"}]}, "steps"),
        ({**FUNNEL, "steps": STEPS[::-1]}, "steps"),
        ({**FUNNEL, "exact": True}, "exact"),
        ({**FUNNEL, "lg_k": 9}, "lg_k"),
    ],
)
def test_what_was_gathered_otherwise_is_refused(pipeline, metric, key) -> None:
    begun = changed([PAIRS, FUNNEL])
    newest = leave(begin(begun, BEGAN_S) / "job1" / "chk-1", BEGAN_S + 1)
    with pytest.raises(
        PipelineProblem, match=rf"metrics\.{metric['name']}\.{key}: was .* when the run began"
    ):
        restore_point(changed([metric]), "latest")
    free = changed([{**PAIRS, "k": 3}, FUNNEL], allowed_lateness="1m")
    assert restore_point(free, "latest") == newest.as_uri()
    # Without early results no window is answered twice, so lateness may also be taken away.
    begin(free, BEGAN_S)
    assert restore_point(begun, "latest") == newest.as_uri()


def test_metrics_may_come_and_go_and_answers_be_asked_differently(pipeline) -> None:
    begun = changed([USERS, ASKED])
    newest = leave(begin(begun, BEGAN_S) / "job1" / "chk-1", BEGAN_S + 1)
    count = {"name": "n", "kind": "count"}
    now = changed([{**ASKED, "ask": ["b"]}, count], allowed_lateness="1m", emit_every="5s", parallelism=1)
    assert restore_point(now, "latest") == newest.as_uri()
