"""The `enrich` section of the pipeline file."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import ConfigDict, Field

from operators.expressions import Expression, compile_expression
from operators.first_seen.remembering import Remembering
from operators.metrics.kind import typed_column

IS_NEW, UNIQUE = "is_new_user", "unique_users_est"


class EnrichSpec(Remembering):
    """Each event that meets `where` out again, with running estimates.

    `user` is the column whose first events are told, `action` a text column whose values are counted, `value`
    a number that is added up by `action`. The other options say how users are remembered.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    user: str
    action: str | None = None
    value: str | None = None
    where: str | None = None
    lg_k: int = Field(14, ge=4, le=21)
    epsilon: float = Field(0.001, ge=0.00001, lt=1)

    def condition(self, columns: Mapping[str, str]) -> Expression | None:
        """Check the section against the columns and return its condition.

        Raises:
            ValueError: where a column is missing or of a wrong type, or has a name that enriching gives; the
                message begins with the key.
        """
        typed_column("enrich", columns, self.user, ("string", "long", "double", "bool"), key="user")
        if self.action is not None:
            typed_column("enrich", columns, self.action, ("string",), key="action")
        if self.value is not None:
            typed_column("enrich", columns, self.value, ("long", "double"), key="value")
            if self.action is None:
                raise ValueError("value: is added up by action, so action is needed too")
        for name in (IS_NEW, UNIQUE):
            if name in columns:
                raise ValueError(f"there is a column {name!r}, the name of what is added; rename the column")
        try:
            return None if self.where is None else compile_expression(self.where, columns, expect="bool")
        except ValueError as problem:
            raise ValueError(f"where: {problem}") from problem
