"""The options of the Q-learners and their defaults, which are those of ``training=fast`` (on LBF that explores longer);
other profiles set their own.

Targets follow at every update: with a copy every 100 updates values stay where they began for thousands of episodes,
QMIX unlearns the smallest LBF task and swings on SMAC (measured in docs/performance_former.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from ibal_lightning.backbones.context import MIXER_CONTEXTS
from ibal_lightning.functional.options import SMALLEST_EPS, check_choice, check_ranges, check_rate


@dataclass(frozen=True, kw_only=True)
class QOptions:
    """Settings of double Q-learning.

    Args:
        hidden_dim: units of fc1 and of the layer behind it.
        use_rnn: that layer is a GRU; otherwise linear with relu, without memory (EPyMARL's default).
        last_action: feed the action of the step before.
        last_action_source: which one: "intended" (WALL), or "executed" (ROMANCE), which tells an agent that it was
            overridden.
        agent_id: feed the agent's index.
        mixer_context: "group" tells the mixer who is in G1, in training only; "none" does not.
        gamma: discount per env step.
        double_q: choose the target's action with the online network.
        td_lambda: Peng's lambda; 0 for one-step targets.
        n_step: rewards before the bootstrap; above 1 only with ``td_lambda=0``.
        target_interval: updates between moves of the target networks (PyMARL counts episodes: its 200 episodes at
            one update per episode are 200 updates).
        target_tau: how far they move: 1 copies (hard), below 1 averages (soft, Polyak).
        standardise_rewards: shift and scale rewards by their running mean and deviation (EPyMARL).
        optimizer: "adam" or "rmsprop".
        optim_alpha: RMSprop's smoothing, as in PyMARL.
        optim_eps: eps of the optimizer; by default 1e-8 for Adam and PyMARL's 1e-5 for RMSprop.
        lr: learning rate.
        max_grad_norm: gradients are clipped to this L2 norm.
        compile_mixer: run the mixers through ``torch.compile``: needs a C++ compiler, takes half a minute, and gains
            nothing on a CPU (docs/performance.md).
        epsilon_start: chance of a uniform legal action at env step 0.
        epsilon_finish: the same after ``epsilon_anneal`` env steps (linear in between).
        epsilon_anneal: env steps, summed over games.

    Raises:
        ValueError: an option is out of range or contradicts another.
    """

    hidden_dim: int = 64
    use_rnn: bool = True
    last_action: bool = True
    last_action_source: str = "intended"
    agent_id: bool = True
    mixer_context: str = "none"
    gamma: float = 0.99
    double_q: bool = True
    td_lambda: float = 0.8
    n_step: int = 1
    target_interval: int = 1
    target_tau: float = 0.02
    standardise_rewards: bool = False
    optimizer: str = "adam"
    optim_alpha: float = 0.99
    optim_eps: float | None = None
    lr: float = 1e-3
    max_grad_norm: float = 10.0
    compile_mixer: bool = False
    epsilon_start: float = 1.0
    epsilon_finish: float = 0.05
    epsilon_anneal: int = 50_000

    def __post_init__(self) -> None:
        ranges = partial(check_ranges, self, prefix="backbone.")
        check_choice("backbone.last_action_source", self.last_action_source, ("intended", "executed"))
        check_choice("backbone.mixer_context", self.mixer_context, MIXER_CONTEXTS)
        check_choice("backbone.optimizer", self.optimizer, ("adam", "rmsprop"))
        ranges(("gamma", "optim_alpha", "td_lambda", "target_tau", "epsilon_start", "epsilon_finish"), 0, 1)
        ranges(("n_step", "target_interval", "hidden_dim"), 1)
        ranges(("epsilon_anneal",), 0)
        ranges(("optim_eps", "max_grad_norm"), SMALLEST_EPS)
        check_rate("backbone.lr", self.lr)
        if self.n_step > 1 and self.td_lambda > 0:
            raise ValueError(
                f"backbone.n_step={self.n_step} and backbone.td_lambda={self.td_lambda} exclude each other: "
                "set td_lambda=0 for n-step targets, or n_step=1"
            )

    def epsilon(self, env_steps: int) -> float:
        """Exploration rate after ``env_steps``."""
        left = max(0.0, 1.0 - env_steps / self.epsilon_anneal) if self.epsilon_anneal else 0.0
        return self.epsilon_finish + (self.epsilon_start - self.epsilon_finish) * left
