"""Settings: what counts as an error, and what is done about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from recpack.problems import Problem, Severity
from recpack.settings import Settings, option

if TYPE_CHECKING:
    from recpack.problems import Action
else:
    Action = str  # jedi, which completes names in IPython, fails for an object with a Literal


class Policy(Settings):
    """What is done about bad data."""

    title = "bad data"

    on_error: Literal["fail", "skip"] = option(
        default="fail",
        help="skip: leave out files with errors and list them",
        shapes=True,
    )
    strict: bool = option(default=False, help="warnings count as errors", shapes=True)

    def fatal(self, problem: Problem) -> bool:
        """Whether a problem counts as an error."""
        return problem.severity in self.fatal_severities

    @property
    def fatal_severities(self) -> tuple[Severity, ...]:
        """The severities that count as errors."""
        return ("error", "warning") if self.strict else ("error",)

    @property
    def error_action(self) -> Action:
        """What is done about a file with an error."""
        return "dropped image" if self.on_error == "skip" else "error"
