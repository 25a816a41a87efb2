"""Flink settings of a REST interface that web pages cannot submit jobs to."""

from __future__ import annotations


def guarded_rest(port: int, submission: bool) -> dict[str, str]:
    """Return the Flink settings of a guarded REST interface on localhost.

    Args:
        port: its port.
        submission: whether `flink run` may submit jobs to it.
    """
    return {
        # Upload of jars over REST, which `flink run` does not need.
        "web.submit.enable": "false",
        "web.access-control-allow-origin": f"http://localhost:{port}",
        "sketchstream.rest.submission": str(submission).lower(),
    }
