"""Parts of messages: the nearest known words to a mistyped one, the first line of somebody else's message."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """``"; did you mean 'qmix'?"``, or nothing where no known word is near."""
    near = _near(word, known, 1)
    return f"; did you mean {near[0]!r}?" if near else ""


def nearest_names(name: object, allowed: Iterable[str]) -> str:
    """The end of a message about a mistyped name: the nearest ones if any, then all."""
    allowed = list(allowed)
    near = _near(name, allowed, 3)
    hint = f"did you mean {', '.join(near)}? " if near else ""
    return f"{hint}Allowed: {', '.join(allowed)}."


def first_line(error: BaseException) -> str:
    """The first line of an exception's message, the name of its class where it has none."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def _near(word: object, known: Iterable[str], most: int) -> list[str]:
    """The nearest of the known words, whatever the case, nearest first."""
    folded = {other.casefold(): other for other in known}
    return [folded[other] for other in difflib.get_close_matches(str(word).casefold(), folded, n=most, cutoff=0.5)]
