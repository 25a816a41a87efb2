"""This machine: its Java, its ports, the processes that a run leaves behind."""
