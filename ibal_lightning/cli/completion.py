"""Tab completion of ``ibal``: Hydra completes overrides, but knows nothing of verbs."""

from __future__ import annotations

import os
from collections.abc import Sequence


def asked(words: Sequence[str]) -> bool:
    """Whether the shell asks for completions (``-sc query=bash``, with the typed line in ``COMP_LINE``)."""
    return len(words) == 2 and words[0] in ("-sc", "--shell-completion") and words[1].startswith("query=")


def with_verb(words: Sequence[str], verbs: Sequence[str]) -> list[str]:
    """Take the verb out of the typed line and put it before the words; print the verbs while one is being typed."""
    line = os.environ.get("COMP_LINE", "")
    program, _, typed = line.partition(" ")
    first, space, rest = typed.lstrip().partition(" ")
    if not space and "=" not in first:
        print(*(verb for verb in verbs if verb.startswith(first)))
    if not space or first not in verbs:
        return list(words)
    os.environ["COMP_LINE"] = f"{program} {rest}"
    return [first, *words]
