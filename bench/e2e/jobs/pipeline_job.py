"""The product's job with a function in ingest's place that does nothing, or with other settings of Flink.

flink run ... -pym bench.e2e.jobs.pipeline_job --pipeline FILE [--idle] [--setting KEY=VALUE ...]
"""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
from pyflink.table import FunctionContext
from pyflink.table.udf import ScalarFunction

import flink_job.topology
from flink_job import main as product

_IDLE, _SETTING = "--idle", "--setting="


class IdleFunction(ScalarFunction):
    """Takes the same columns as ingest, counts the rows, and answers null for each."""

    def __init__(self, *_: object) -> None:
        """Take what ingest takes."""

    def open(self, function_context: FunctionContext) -> None:
        """Name the counter."""
        self._rows = function_context.get_metric_group().counter("rows")

    def eval(self, *given: pd.Series) -> pd.DataFrame:
        """Answer one Arrow batch of rows."""
        rows = len(given[0])
        self._rows.inc(rows)
        none = pd.Series(np.full(rows, None), dtype=object)
        columns = dict.fromkeys(("branches", "shards", "records"), none)
        return pd.DataFrame({"watermark_ms": np.zeros(rows, np.int64), **columns})


def main() -> None:
    """Change what is to be changed, and run the product's entry."""
    arguments = sys.argv[1:]
    given = [word.removeprefix(_SETTING).split("=", 1) for word in arguments if word.startswith(_SETTING)]
    if _IDLE in arguments:
        flink_job.topology.IngestFunction = IdleFunction
    settings = product.job_settings
    product.job_settings = lambda *about: settings(*about) | dict(given)
    product.main([word for word in arguments if word != _IDLE and not word.startswith(_SETTING)])


if __name__ == "__main__":
    main()
