"""The mask and the rewrite that IBAL's options ask for."""

from __future__ import annotations

from ibal_lightning.attack import Threat
from ibal_lightning.attacks.ibal.blind import BLIND_RULES, BlindMask
from ibal_lightning.attacks.ibal.mask import ObservationMask, Reference
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
    rule, maskable = options.mask_rule, options.maskable
    check_choice("attack.mask_rule", rule, ("guided", "bottom", *BLIND_RULES))
    if maskable != "all" and rule in BLIND_RULES:
        raise ValueError(f"attack.maskable={maskable} goes with mask_rule=guided or bottom, not with {rule}")
    # Built in any case: the initial weights of what comes next do not depend on the rule, so that ablations share them.
    mask = ObservationMask(
        spec,
        threat,
        Reference(options.p_ref, options.eps_ref, options.t_ref),
        score_mode=options.score_mode,
        transform=options.score_transform,
        score_eps=options.score_eps,
        score_every=options.score_every,
        head=options.observation_head,
        hidden=options.hidden,
        rank=options.rank,
        lowest=rule == "bottom",
        maskable=maskable if used else "all",
    )
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
    rewrite = ActionRewrite(
        spec,
        resolve_score(score, persistent),
        K,
        exclude_intended=options.exclude_intended,
        support_floor=options.support_floor,
        search=options.search,
        context=options.action_context,
        hidden=options.hidden,
        rank=options.rank,
    )
    if not used:
        return None, None
    return (rewrite, None) if score in SCORES else (None, score)
