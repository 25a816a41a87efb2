"""What a run remembers of itself: how it was begun, and where it can be gone on from."""
