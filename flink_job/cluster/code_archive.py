"""The code that the Python workers of a cluster need, as one archive."""

from __future__ import annotations

import zipfile
from pathlib import Path

PACKAGES = ("flink_job", "operators", "sketches", "state")
_ROOT = Path(__file__).resolve().parents[2]
_LEFT_OUT = {"__pycache__"}


def write_code_archive(target: Path) -> None:
    """Write a zip of the project's packages, what `flink run -pyfs` takes.

    Args:
        target: the file; its folder must be there.
    """
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for package in PACKAGES:
            for path in sorted((_ROOT / package).rglob("*")):
                if path.is_file() and not _LEFT_OUT.intersection(path.parts):
                    archive.write(path, path.relative_to(_ROOT))
