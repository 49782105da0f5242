"""Which source classes are the majority and which the minority."""

import unicodedata
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

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
    def how_to_swap(self) -> str:
        """How to name the classes the other way round, in a sentence."""
        return (
            f"Pass majority={self.minority!r}, minority={self.majority!r} (--majority "
            f"{','.join(self.minority)} --minority {','.join(self.majority)})."
        )

    @property
    def names(self) -> tuple[str, ...]:
        """All class names, the majority's first."""
        return self.majority + self.minority

    def count(self, by_class: Mapping[str, Sequence[Any]]) -> tuple[int, int]:
        """Return the numbers of majority and of minority items."""
        n_majority, n_minority = (
            sum(len(by_class[name]) for name in names)
            for names in (self.majority, self.minority)
        )
        return n_majority, n_minority

    def label(self, name: str) -> int:
        """Return the label of a class: 0 = majority, 1 = minority."""
        return MINORITY if name in self.minority else MAJORITY

    def check_known(
        self,
        available: Iterable[str],
        where: str,
        advice: str | None = None,
        *,
        names: Sequence[str] | None = None,
    ) -> None:
        """Refuse roles with a class that `where` does not hold.

        Args:
            available: the classes there are.
            where: what holds them, for the message.
            advice: what to do, in a sentence; None names the most similar class.
            names: the classes looked for; None is all.

        Raises:
            ValueError: naming the unknown classes and those there are.
        """
        available = sorted(available)
        unknown = [name for name in names or self.names if name not in available]
        if not unknown:
            return
        near = _alike(unknown[0], available)
        listed = ", ".join(available[:_LISTED_NAMES]) or "none"
        if len(available) > _LISTED_NAMES:
            listed += f" and {len(available) - _LISTED_NAMES} more"
        raise ValueError(
            f"Unknown class {', '.join(map(repr, unknown))}; {where} holds these: "
            f"{listed}. Received: majority={self.majority!r}, "
            f"minority={self.minority!r}. "
            + (advice or (f"Did you mean {near}?" if near else "Name one of these."))
        )


def warn_if_swapped(n_majority: int, n_minority: int, advice: str) -> None:
    """Warn if there are more images of the minority than of the majority.

    Keras numbers classes by the alphabet, so that `bad` is 0 and `good` is 1; a model
    trained on that takes the rare class for the common one.

    Args:
        n_majority: images labelled 0.
        n_minority: images labelled 1.
        advice: how to exchange the two.

    Warns:
        UserWarning: if `n_minority` is larger.

    >>> warn_if_swapped(100, 4, "Exchange the names.")
    """
    if n_minority > n_majority:
        warnings.warn(
            "There are more minority images than majority images; expected label 1 "
            "(minority) for the rare class. Received: "
            f"{n_majority:,} of label 0 and {n_minority:,} of label 1. If the labels "
            f"are swapped, every score means its opposite. {advice}",
            stacklevel=3,
        )


def _alike(name: str, available: Sequence[str]) -> str | None:
    """Return how to write the most similar of the names, or None."""
    for folded in (_same_text, str.casefold):
        for other in available:
            if folded(name) == folded(other):
                # Names in other characters that look the same.
                return ascii(other) if folded is _same_text else repr(other)
    near = get_close_matches(name, available, n=1)
    return repr(near[0]) if near else None


def _same_text(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _as_names(names: str | Sequence[str]) -> tuple[str, ...]:
    """Return one name or several as a tuple."""
    if isinstance(names, str) or not isinstance(names, Iterable):
        return (names,)
    return tuple(names)
