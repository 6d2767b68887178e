"""The options of IBAL and their defaults (ALGORITHMS 7 has the description's names, ``docs/ibal.md`` the reasons)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ibal_lightning.functional.options import check_ranges, check_rate


@dataclass(frozen=True, kw_only=True)
class IbalOptions:
    """Settings of ``Ibal``. Words and ranges are checked by the parts that they belong to.

    Args:
        K: largest group G1; null = by team size (1 up to 5 agents, 2 up to 7, 4 beyond). 0 attacks nobody.
        p_floor: lower end of P_act: a number or "1/K".
        p_max_init: where P_max starts, at or above the floor; null = at the floor. A training with overrides refuses 0
            unless alpha is 1.
        p_max_limit: P_max does not grow beyond it; where it starts at or above, it stays. The description's is 1.
        alpha: growth factor of P_max; 1 = not adaptive.
        eta, window: P_max grows when more than eta of the last ``window`` attacked episodes were won.
        trigger: how often P_act is thrown: each "step", every ``hold`` steps, or once an "episode".
        hold: steps that one throw lasts with trigger=hold.
        coupling: "joint" masks and overrides always come together; "independent" both, or either alone, a third each.
        observation, action: switch a surface off (ablations).
        symmetric: mask G2 towards G1 as well.
        mask_rule: "guided" hides the L dims of highest score, "bottom" those of lowest (a control);
            "random_episode", "random_step" and "opposite" need no estimator, see ``BlindMask``.
        maskable: "all" dims may be hidden, or "ally_features", those that describe another agent.
        score_mode: "step" scores every step, "table" uses their running mean (cheap).
        score_transform: "raw" CLUB of the whole opposing group, or "halflog" of each opponent's (twice the cost).
        score_eps: dims at or below this score are never masked; random dims have no score.
        score_every: steps between two looks at the scores; the masked dims stay the same in between.
        observation_head: form of the observation model: "gaussian", or "hurdle", which takes flags and zeros for events
            of their own: more nats, slightly better attribution, 8 times the cost of a look on 8m.
        history: what the observation model conditions on beside observation and actions: the "state", or "gru", a
            learnt code of what all agents have seen and done so far.
        p_ref: reference distribution of actions: "uniform" over legal ones, "soft", from the victim's own scores, or
            "behaviour_model", learnt from the actions that it meant.
        eps_ref, t_ref: uniform share of the two others, and the soft one's temperature where the team has utilities.
            All three are for score_mode=step: the table is always of uniform legal actions, and it also serves the
            first step of an episode.
        action_score: "lagged", "klx", "kl", "pmi"; "auto" = lagged where overrides persist (P_act = 1 or a held
            trigger), klx where they come and go. Or a rule that needs no estimator: "random", "inert", "min_q" or the
            name of an action such as "stop" or "move west", see ``Scripted``.
        action_context: what "klx", "kl" and "pmi" condition on: "coarse" (who is alive, the time), "vib" (and a code of
            the state) or "state" (and all of it).
        z_rate: nats that the code may hold about the state in training (at play it is its mean).
        search: how G1's joint action is found: "independent", "coordinate" or "enumerate", see ``ActionRewrite``.
        exclude_intended, support_floor: candidates of the rewrite, see ``ActionRewrite``.
        strength: of evaluation: "as_trained" (k ~ Unif{1..K}, P_act = P_max) or "max" (k = K, P_act = 1).
        hidden, layers, rank, lr: size and learning rate of the estimators (``hidden`` and ``layers`` of their trunk).
        logvar_low, logvar_high: bounds of a dim's log-variance in its own standard deviations; the lower one bounds the
            score of near-deterministic dims.
        rows: transitions per estimator update.
        warmup_updates: estimator updates before the first attack.

    Raises:
        ValueError: a size or a count below 1, a rate or a number of updates below 0, a learning rate that is not a
            finite number above 0, or bounds that are not finite or do not rise.
    """

    K: int | None = None
    p_floor: float | str = 0.1
    p_max_init: float | None = None
    p_max_limit: float = 0.25
    alpha: float = 1.1
    eta: float = 0.6
    window: int = 100
    trigger: str = "step"
    hold: int = 8
    coupling: str = "joint"
    observation: bool = True
    action: bool = True
    symmetric: bool = True
    mask_rule: str = "guided"
    maskable: str = "all"
    score_mode: str = "step"
    score_transform: str = "raw"
    score_eps: float = 1e-6
    score_every: int = 4
    observation_head: str = "gaussian"
    history: str = "state"
    p_ref: str = "soft"
    eps_ref: float = 0.2
    t_ref: float = 0.5
    action_score: str = "auto"
    action_context: str = "coarse"
    z_rate: float = 1.0
    search: str = "independent"
    exclude_intended: bool | None = None
    support_floor: float = 0.0
    strength: str = "as_trained"
    hidden: int = 64
    layers: int = 2
    rank: int = 6
    logvar_low: float = -6.0
    logvar_high: float = 2.0
    lr: float = 2e-3
    rows: int = 128
    warmup_updates: int = 500

    def __post_init__(self) -> None:
        check_ranges(self, ("rows", "hidden", "layers", "rank"), 1, prefix="attack.")
        check_ranges(self, ("z_rate", "warmup_updates"), 0, prefix="attack.")
        check_rate("attack.lr", self.lr)
        for name in ("logvar_low", "logvar_high"):
            if not math.isfinite(getattr(self, name)):
                raise ValueError(f"attack.{name} must be a finite number, got {getattr(self, name)}")
        if not self.logvar_low < self.logvar_high:
            raise ValueError(
                f"attack.logvar_low must be below logvar_high, got {self.logvar_low:g} and {self.logvar_high:g}"
            )
