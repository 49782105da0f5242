"""Which source classes are the majority and which the minority."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

MAJORITY, MINORITY = 0, 1

_LISTED_NAMES = 20


@dataclass(frozen=True)
class ClassRoles:
    """The source classes that make up the majority and the minority.

    Attributes:
        majority: names of the classes labelled 0.
        minority: names of the classes labelled 1.
    """

    majority: tuple[str, ...]
    minority: tuple[str, ...]

    @classmethod
    def from_names(
        cls, majority: str | Sequence[str], minority: str | Sequence[str]
    ) -> "ClassRoles":
        """Build the roles from one class name or several for each.

        Raises:
            ValueError: if either is empty or a class occurs twice.
        """
        roles = cls(_as_names(majority), _as_names(minority))
        for role, names in (("majority", roles.majority), ("minority", roles.minority)):
            if not names or not all(isinstance(name, str) and name for name in names):
                raise ValueError(
                    f"`{role}` must be a class name or several. Received: "
                    f"{role}={names!r}. Name at least one class."
                )
        repeated = sorted({name for name in roles.names if roles.names.count(name) > 1})
        if repeated:
            raise ValueError(
                "A class may be named once only, as majority or as minority. "
                f"Received: majority={roles.majority!r}, minority={roles.minority!r}. "
                f"Leave {', '.join(repeated)} out of one of them."
            )
        return roles

    @property
    def names(self) -> tuple[str, ...]:
        """All class names, the majority's first."""
        return self.majority + self.minority

    def label(self, name: str) -> int:
        """Return the label of a class: 0 = majority, 1 = minority."""
        return MINORITY if name in self.minority else MAJORITY

    def check_known(self, available: Iterable[str], where: str) -> None:
        """Refuse roles with a class that `where` does not hold.

        Raises:
            ValueError: naming the unknown classes and those there are.
        """
        available = sorted(available)
        unknown = [name for name in self.names if name not in available]
        if not unknown:
            return
        near = get_close_matches(unknown[0], available, n=1)
        listed = ", ".join(available[:_LISTED_NAMES]) or "none"
        if len(available) > _LISTED_NAMES:
            listed += f" and {len(available) - _LISTED_NAMES} more"
        raise ValueError(
            f"Unknown class {', '.join(map(repr, unknown))}; {where} holds these: "
            f"{listed}. Received: majority={self.majority!r}, "
            f"minority={self.minority!r}. "
            + (f"Did you mean {near[0]!r}?" if near else "Name one of these.")
        )


def _as_names(names: str | Sequence[str]) -> tuple[str, ...]:
    """Return one name or several as a tuple."""
    return (names,) if isinstance(names, str) else tuple(names)
