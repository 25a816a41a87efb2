"""An entry of the pipeline file's `similar` list: which items there are, who asks, and for what."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_serializer, model_validator

from operators.durations import DurationMs
from operators.parsing import FormatSpec
from operators.section import Section

IndexName = Literal["auto", "flat", "hnsw", "ivf"]
QUERY_KINDS = ("item", "text", "user")
_NAME = "^[A-Za-z_][A-Za-z0-9_-]{0,63}$"
_Column = Annotated[str, Field(min_length=1)]


class FileItems(BaseModel):
    """Items of files, one JSON object a line, read by every worker when it starts.

    `path` is a file or a glob that every worker can read, `.gz` is unpacked.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    type: Literal["file"]
    path: Annotated[str, Field(min_length=1)]

    @field_serializer("path")
    def _for_workers(self, path: str) -> str:
        """Workers run in folders of their own, so what is sent to them says where the files are."""
        return str(Path(path).absolute())


class StreamedItems(BaseModel):
    """Items that come as a stream beside the events; where from is not the operators' business."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    type: Literal["kafka"]


class QuerySpec(BaseModel):
    """What an event asks for; one of the three is the column that says it.

    `item`: what is like this item; `text`: what is like this text; `user`: what is like what this user
    touched.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    item: _Column | None = None
    text: _Column | None = None
    user: _Column | None = None

    @model_validator(mode="after")
    def _one_question(self) -> QuerySpec:
        named = [key for key in QUERY_KINDS if getattr(self, key) is not None]
        if len(named) != 1:
            raise ValueError(f"expected one of item, text and user, got {' and '.join(named) or 'none'}")
        return self

    @property
    def kind(self) -> str:
        """Which of the three it is."""
        return next(key for key in QUERY_KINDS if getattr(self, key) is not None)

    @property
    def column(self) -> str:
        """The column that says what is asked for."""
        return getattr(self, self.kind)


class ProfileSpec(BaseModel):
    """How a user's profile comes about: the mean of the vectors of the items that the user touched.

    `of` is the column of the user, `touched` that of the item, `where` says which events count. A touch
    counts half after each `half_life` of event time.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    of: _Column
    touched: _Column
    half_life: Annotated[DurationMs, Field(ge=1000)]
    where: str | None = None


class TouchHistory(BaseModel):
    """Touches that were before the first event of the job.

    `path` is a file or a glob that every worker can read, `.gz` is unpacked; `user`, `item` and `time` are
    keys in its lines, the time in milliseconds since 1970.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    path: Annotated[str, Field(min_length=1)]
    user: _Column = "user"
    item: _Column = "item"
    time: _Column = "ts"
    format: FormatSpec = "json"

    @field_serializer("path")
    def _for_workers(self, path: str) -> str:
        return str(Path(path).absolute())


class SimilarSpec(Section):
    """The items most similar to what an event asks for, by the cosine of their vectors.

    `item` is the key of the id in an item, `vector` that of its vector of `dimension` numbers; with `text`
    the vector is made of that text instead. `where` says which events ask, `k` is how many items an answer
    has. `shards` is into how many pieces users are spread; never change it for a job that goes on from a
    checkpoint. Touches of `history` are in profiles from the beginning.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: Annotated[str, Field(pattern=_NAME)]
    kind: Literal["similar"] = "similar"
    items: Annotated[FileItems | StreamedItems, Field(discriminator="type")]
    item: _Column = "item_id"
    vector: _Column = "vector"
    text: _Column | None = None
    dimension: Annotated[int, Field(ge=2, le=4096)]
    index: IndexName = "auto"
    query: QuerySpec
    profile: ProfileSpec | None = None
    history: TouchHistory | None = None
    where: str | None = None
    k: Annotated[int, Field(ge=1, le=1000)] = 10
    shards: Annotated[int, Field(ge=1, le=1024)] = 8

    @model_validator(mode="after")
    def _fits_together(self) -> SimilarSpec:
        if self.text is not None and "vector" in self.model_fields_set:
            raise ValueError("expected one of vector and text, got both")
        if self.query.text is not None and self.text is None:
            raise ValueError("query.text: needs text, the key that the items' vectors are made from")
        if self.query.user is None and self.profile is not None:
            raise ValueError("profile: is used by query.user only")
        if self.history is not None and self.profile is None:
            raise ValueError("history: needs profile, which says how a user's profile comes about")
        if self.history is not None and not isinstance(self.items, FileItems):
            raise ValueError("history: needs items of type file, which are there before the first event")
        if self.query.user is not None and self.profile is None:
            raise ValueError("query.user: needs profile, which says how a user's profile comes about")
        if self.query.user is not None and self.query.user != self.profile.of:
            raise ValueError(
                f"query.user: expected {self.profile.of!r}, the column that profiles are of, "
                f"got {self.query.user!r}"
            )
        return self
