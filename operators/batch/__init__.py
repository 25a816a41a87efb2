"""A batch of accepted events as columns, and the groups that its events are in."""
