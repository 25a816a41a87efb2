"""Expressions over the columns of an event: ``where``, ``checks`` and ``expr`` of the pipeline file.

The language is a small part of SQL with its three-valued logic. An expression is parsed and checked against
the columns before anything starts, and evaluated on whole columns.

What it means where SQL dialects differ:

* ``/`` always gives a double. ``%`` has the sign of the dividend; of two longs it is a long.
* Arithmetic whose result does not fit its type is null: a long outside 64 bits, a double that is not finite.
  Division by zero and ``% 0`` are therefore null. Nothing wraps around and nothing stops the job.
* A long compared with a double is compared as a double.
* Texts compare by code point. ``like`` is case-sensitive and has no escape character; its ``%`` and ``_``
  match line ends too. ``length`` counts characters (code points).
* ``in`` takes literals. ``like`` takes a literal pattern.
* A name in double quotes is a column whatever it is called. Keywords and functions ignore case, columns do
  not.
* A multi-valued column (type ``list``) can only be asked ``is null`` or ``is not null``.
"""

from __future__ import annotations

from operators.expressions.compiled import Expression, compile_expression
from operators.expressions.necessary import OneOf, Range
from operators.expressions.syntax import ExpressionError

__all__ = ["Expression", "ExpressionError", "OneOf", "Range", "compile_expression"]
