"""The options of MAPPO and IPPO and their defaults; ``training=fast`` sets ``minibatches``."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from ibal_lightning.backbones.context import MIXER_CONTEXTS
from ibal_lightning.functional.options import SMALLEST_EPS, check_choice, check_ranges, check_rate


@dataclass(frozen=True, kw_only=True)
class PpoOptions:
    """Settings of PPO.

    Args:
        hidden_dim: units of every layer.
        fc_layers: layers before the memory, each with relu and LayerNorm (on-policy: 2, its ``layer_N`` plus 1).
        use_rnn: the layer behind them is a GRU, in actor and critic; otherwise linear with relu, without memory.
        output_gain: gain of the actor's last layer at the start; small means nearly uniform.
        last_action: feed the action of the step before.
        last_action_source: which one: "intended", or "executed", which tells an agent that it was overridden.
        agent_id: feed the agent's index.
        mixer_context: "group" tells the central critic who is in G1; "none" does not. ("mixer" as for the Q-learners.)
        gamma: discount per env step.
        gae_lambda: lambda of the advantages.
        n_step: rewards before the bootstrap, in place of GAE (EPyMARL: 5); 0 = GAE.
        target_tau: how far a target critic, which bootstraps, moves each batch (EPyMARL: 0.01); 1 = the critic itself.
        epochs: passes over each batch.
        minibatches: parts of a pass; must divide ``training.num_envs``, the episodes of a batch. ``training=fast``
            makes it 4 (1 on SMACv2), ``faithful`` 2 on MMM2, or the largest number below that divides them.
        chunk_length: steps of the sequences trained on, each from its stored memory; by default 10, or the whole of a
            shorter episode.
        clip: PPO's clip of the ratio, and of the value in normalised units.
        value_clip: clip the value too.
        entropy_coef: weight of the policy's entropy (nats).
        value_coef: weight of the value loss.
        huber_delta: threshold of the Huber value loss, in normalised units.
        value_norm: normalise value targets by running statistics.
        value_norm_decay: weight that those statistics keep per batch; below 1.
        standardise_rewards: shift and scale rewards by their running mean and deviation (EPyMARL).
        policy_active_masks: leave the steps of dead agents out of the policy loss.
        value_active_masks: and out of the value loss of per-agent critics. Off by default: the value of a dead agent
            is the bootstrap of its last living step and has to be learnt.
        drop_overridden: leave overridden actions out of the policy loss. Less variance, and unbiased only where what
            replaces an action does not depend on it (random, stop): IBAL's klx and kl exclude the intended one.
        lr: learning rate of the actor (Adam).
        critic_lr: learning rate of the critic.
        optim_eps: Adam's eps.
        max_grad_norm: the gradients of the actor and of the critic are clipped to this L2 norm, each for itself.

    Raises:
        ValueError: an option is out of range.
    """

    hidden_dim: int = 64
    fc_layers: int = 1
    use_rnn: bool = True
    output_gain: float = 0.01
    last_action: bool = False
    last_action_source: str = "intended"
    agent_id: bool = True
    mixer_context: str = "none"
    gamma: float = 0.99
    gae_lambda: float = 0.95
    n_step: int = 0
    target_tau: float = 1.0
    epochs: int = 10
    minibatches: int = 1
    chunk_length: int | None = None
    clip: float = 0.2
    value_clip: bool = True
    entropy_coef: float = 0.01
    value_coef: float = 1.0
    huber_delta: float = 10.0
    value_norm: bool = True
    value_norm_decay: float = 0.99
    standardise_rewards: bool = False
    policy_active_masks: bool = True
    value_active_masks: bool = False
    drop_overridden: bool = False
    lr: float = 5e-4
    critic_lr: float = 5e-4
    optim_eps: float = 1e-5
    max_grad_norm: float = 10.0

    @property
    def network(self) -> dict[str, Any]:
        """What the networks of actor and critic have in common."""
        chosen = {"hidden_dim": self.hidden_dim, "fc_layers": self.fc_layers, "use_rnn": self.use_rnn}
        return {**chosen, "normalize": True}

    def __post_init__(self) -> None:
        ranges = partial(check_ranges, self, prefix="backbone.")
        check_choice("backbone.last_action_source", self.last_action_source, ("intended", "executed"))
        check_choice("backbone.mixer_context", self.mixer_context, MIXER_CONTEXTS)
        ranges(("gamma", "gae_lambda", "value_norm_decay", "target_tau"), 0, 1)
        ranges(("epochs", "minibatches", "hidden_dim", "fc_layers", "chunk_length"), 1)
        ranges(("n_step", "output_gain", "clip", "entropy_coef", "value_coef"), 0)
        ranges(("optim_eps", "huber_delta", "max_grad_norm"), SMALLEST_EPS)
        check_rate("backbone.lr", self.lr)
        check_rate("backbone.critic_lr", self.critic_lr)
        if self.value_norm and self.value_norm_decay == 1:
            raise ValueError("backbone.value_norm_decay=1 keeps nothing of any batch: set backbone.value_norm=false")
