"""The checks of `sketchstream doctor`, by what they look at."""
