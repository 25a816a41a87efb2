"""The job: command line, pipeline file, graph, sources and sinks."""
