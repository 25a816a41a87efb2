"""Remembering values: which events are the first of theirs."""
