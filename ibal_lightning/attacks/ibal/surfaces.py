"""The mask and the rewrite that IBAL's options ask for."""

from __future__ import annotations

from dataclasses import replace

from ibal_lightning.attack import Threat
from ibal_lightning.attacks.ibal.blind import BLIND_RULES, BlindMask
from ibal_lightning.attacks.ibal.mask import ObservationMask
from ibal_lightning.attacks.ibal.options import IbalOptions
from ibal_lightning.attacks.ibal.rewrite import SCORES, ActionRewrite, resolve_score
from ibal_lightning.attacks.scripted import rules
from ibal_lightning.functional.options import check_choice
from ibal_lightning.types import EnvSpec


def make_mask(spec: EnvSpec, threat: Threat, options: IbalOptions, *, used: bool) -> ObservationMask | BlindMask | None:
    """What picks the dims: guided and bottom by scores, other rules blindly; None where it is not used.

    Raises:
        ValueError: an unknown rule, or one that cannot keep to the maskable dims.
    """
    rule = options.mask_rule
    check_choice("attack.mask_rule", rule, ("guided", "bottom", *BLIND_RULES))
    if options.maskable != "all" and rule in BLIND_RULES:
        raise ValueError(f"attack.maskable={options.maskable} goes with mask_rule=guided or bottom, not with {rule}")
    # Built in any case: the initial weights of what comes next do not depend on the rule, so that ablations share them.
    mask = ObservationMask(spec, threat, options if used else replace(options, maskable="all"))
    if not used:
        return None
    return BlindMask(spec, threat.max_dims(spec), rule) if rule in BLIND_RULES else mask


def make_rewrite(
    spec: EnvSpec, K: int, options: IbalOptions, *, used: bool, persistent: bool
) -> tuple[ActionRewrite | None, str | None]:
    """What rewrites G1's actions: a rewrite by score, or the name of a scripted rule; neither where it is not used.

    Raises:
        ValueError: there is no such score or rule.
    """
    score = options.action_score
    check_choice("attack.action_score", score, (*SCORES, *rules(spec)))
    rewrite = ActionRewrite(spec, resolve_score(score, persistent), K, options)
    if not used:
        return None, None
    return (rewrite, None) if score in SCORES else (None, score)
