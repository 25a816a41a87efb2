"""How soon alerts arrive."""
