"""Where Flink is installed, which file system plugins it has, and how it and Kafka log."""

from __future__ import annotations

import importlib.util
import os
from importlib.metadata import version
from pathlib import Path

from flink_job.machine.environment import EnvironmentProblem
from flink_job.pipeline.file_systems import HADOOP, PLUGINS, scheme_of

LOG4J_PROPERTIES = Path(__file__).with_name("log4j.properties")


def flink_home() -> Path:
    """Return the folder of the `pyflink` package, which has Flink's `bin`, `conf` and `lib`.

    Raises:
        EnvironmentProblem: where it is not installed.
    """
    # Looked up, not imported: importing it takes more than a second.
    found = importlib.util.find_spec("pyflink")
    if found is None or not found.submodule_search_locations:
        raise EnvironmentProblem("The Python package apache-flink is missing.", "Run `make setup`.")
    return Path(next(iter(found.submodule_search_locations)))


def expect_plugin(uri: str) -> None:
    """Check that this machine's Flink has the plugin for the file system of a URI.

    Raises:
        EnvironmentProblem: the plugin, or Hadoop, is missing.
    """
    scheme, plugin = scheme_of(uri), PLUGINS.get(scheme_of(uri), "")
    if plugin == HADOOP:
        if not (os.environ.get("HADOOP_CLASSPATH") or list((flink_home() / "lib").glob("*hadoop*.jar"))):
            raise EnvironmentProblem(
                f"Flink cannot use {scheme}:// here: it has no Hadoop.",
                "Install Hadoop and set HADOOP_CLASSPATH to what `hadoop classpath` prints.",
            )
    elif plugin and not _has_plugin(plugin):
        jar, folder = f"{plugin}-{version('apache-flink')}.jar", _plugins_folder()
        raise EnvironmentProblem(
            f"Flink cannot use {scheme}:// here: {folder} has no folder with {plugin}-*.jar.",
            f"Put {jar}, from Maven Central, into {folder / plugin.removesuffix('-hadoop')}/.",
        )


def _plugins_folder() -> Path:
    own = os.environ.get("FLINK_PLUGINS_DIR")
    return Path(own) if own else flink_home() / "plugins"


def _has_plugin(plugin: str) -> bool:
    """Return whether a jar for the file system is installed; its build may differ, such as `native`."""
    made = plugin if plugin.endswith("-presto") else plugin.rpartition("-")[0]
    return any(_plugins_folder().glob(f"*/{made}-*.jar")) or any((flink_home() / "lib").glob(f"{made}-*.jar"))
