"""The metric kinds, one module each. A new module with a `Kind` is found by itself."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from operators.metrics.kind import Kind


def all_kinds() -> dict[str, type[Kind]]:
    """Return every kind by its name in the pipeline file."""
    kinds = {}
    for info in iter_modules(__path__, __name__ + "."):
        for found in vars(import_module(info.name)).values():
            is_kind = isinstance(found, type) and issubclass(found, Kind) and found is not Kind
            if is_kind and found.__base__ is Kind:  # what derives from a kind is no kind of its own
                (name,) = found.model_fields["kind"].annotation.__args__
                kinds[name] = found
    return dict(sorted(kinds.items()))
