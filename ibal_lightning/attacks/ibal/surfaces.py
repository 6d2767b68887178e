"""The mask and the rewrite that IBAL's options ask for."""

from __future__ import annotations

from typing import Any

from ibal_lightning.attack import Threat
from ibal_lightning.attacks.ibal.blind import BLIND_RULES, BlindMask
from ibal_lightning.attacks.ibal.mask import ObservationMask, Reference
from ibal_lightning.attacks.ibal.rewrite import SCORES, ActionRewrite, resolve_score
from ibal_lightning.attacks.scripted import rules
from ibal_lightning.functional.options import check_choice
from ibal_lightning.types import EnvSpec


def make_mask(
    spec: EnvSpec, threat: Threat, reference: Reference, *, used: bool, rule: str, maskable: str, **guided: Any
) -> ObservationMask | BlindMask | None:
    """What picks the dims; None where it is not used.

    Args:
        rule: "guided" and "bottom" are an ``ObservationMask``, which ``guided`` are options of; else a ``BlindMask``.

    Raises:
        ValueError: an unknown rule, or one that cannot keep to the maskable dims.
    """
    check_choice("attack.mask_rule", rule, ("guided", "bottom", *BLIND_RULES))
    if maskable != "all" and rule in BLIND_RULES:
        raise ValueError(f"attack.maskable={maskable} goes with mask_rule=guided or bottom, not with {rule}")
    # Built in any case: the initial weights of what comes next do not depend on the rule, so that ablations share them.
    maskable = maskable if used else "all"
    mask = ObservationMask(spec, threat, reference, **guided, lowest=rule == "bottom", maskable=maskable)
    if not used:
        return None
    return BlindMask(spec, threat.max_dims(spec), rule) if rule in BLIND_RULES else mask


def make_rewrite(
    spec: EnvSpec, K: int, *, used: bool, score: str, persistent: bool, **options: Any
) -> tuple[ActionRewrite | None, str | None]:
    """What rewrites G1's actions: a rewrite by ``score``, or the name of a scripted rule; neither where it is not used.

    Raises:
        ValueError: there is no such score or rule.
    """
    check_choice("attack.action_score", score, (*SCORES, *rules(spec)))
    rewrite = ActionRewrite(spec, resolve_score(score, persistent), K, **options)
    if not used:
        return None, None
    return (rewrite, None) if score in SCORES else (None, score)
