"""`{type: print}`: the results on screen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from pyflink.datastream import DataStream


class PrintSinkSpec(BaseModel):
    """Options of a sink `{type: print}`, which has none.

    `sketchstream run` keeps the lines in the run's own folder and shows them as tables; on another cluster
    they go to the standard output of the TaskManagers.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    type: Literal["print"]


class PrintSink:
    """The standard output of the TaskManagers, at least once."""

    takes_keys = False

    def attach(self, lines: DataStream, uid: str) -> None:
        """Print a stream of JSON texts."""
        from pyflink.datastream.data_stream import DataStreamSink

        # PyFlink's own `print` takes all that comes from a table for rows.
        DataStreamSink(lines._j_data_stream.print()).uid(uid).name(uid)
