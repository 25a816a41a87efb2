"""The file systems that Flink can write checkpoints to, by URI scheme."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

FILE, HADOOP = "file", "Hadoop"
PLUGINS: dict[str, str] = {
    FILE: "",
    "hdfs": HADOOP,
    "viewfs": HADOOP,
    "s3": "flink-s3-fs-hadoop",
    "s3a": "flink-s3-fs-hadoop",
    "s3p": "flink-s3-fs-presto",
    "gs": "flink-gs-fs-hadoop",
    "abfs": "flink-azure-fs-hadoop",
    "abfss": "flink-azure-fs-hadoop",
    "wasb": "flink-azure-fs-hadoop",
    "wasbs": "flink-azure-fs-hadoop",
    "oss": "flink-oss-fs-hadoop",
}
"""The Flink plugin that each scheme needs; empty where none is needed."""
_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*):")


def scheme_of(uri: str) -> str:
    """Return the scheme of a URI; empty where it has none."""
    found = _SCHEME.match(uri)
    return found[1] if found else ""


def expect_file_system(uri: str) -> str:
    """Validate the URI of a folder in a file system that Flink supports, and return it.

    Raises:
        ValueError: the URI is invalid; the message says what is allowed and contains nothing of the URI but
            its scheme, as the rest may hold a password.
    """
    scheme = scheme_of(uri)
    if scheme not in PLUGINS:
        known = ", ".join(f"{each}://" for each in PLUGINS)
        raise ValueError(f"expected a URI that begins with one of {known}; got {scheme or 'no scheme'}")
    place = urlsplit(uri)
    if scheme == FILE:
        if not uri.startswith("file:///") or not place.path.strip("/"):
            raise ValueError("expected a folder after three slashes, as in file:///data/checkpoints")
    elif not uri.startswith(f"{scheme}://") or not (place.netloc or PLUGINS[scheme] == HADOOP):
        raise ValueError(f"expected a bucket or container first, as in {scheme}://bucket/checkpoints")
    return uri
