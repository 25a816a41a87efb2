"""Gathering events by order, user or the like before windows count what became of them."""
