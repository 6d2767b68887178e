"""Interaction-breaking adversarial learning for robust multi-agent RL, on Lightning and Hydra."""

__version__ = "0.1.0"
