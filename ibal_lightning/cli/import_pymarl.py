"""``import-pymarl``: a policy saved by PyMARL, WALL, ROMANCE or EPyMARL becomes a run directory for ``evaluate``.

EPyMARL's default agents have no memory and do not see their last action: ``backbone.use_rnn=false
backbone.last_action=false``.
"""

from __future__ import annotations

import shlex
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from ibal_lightning.backbones import pymarl
from ibal_lightning.cli.experiment import build_backbone, build_env
from ibal_lightning.cli.run_directory import RunDirectory
from ibal_lightning.cli.terminal import say
from ibal_lightning.functional.tensor_files import save_tensors


def run(cfg: DictConfig) -> None:
    """Load ``from`` into the backbone built for the environment and write config, manifest and checkpoint to ``out``.

    Raises:
        FileNotFoundError: ``from`` holds no ``agent.th``.
        ValueError: the weights do not fit the environment or the backbone; names layers and both shapes. Or ``out``
            is the directory of a training, which would be lost.
    """
    source, directory = saved_policy(Path(cfg["from"])), RunDirectory(cfg.out)
    if (directory.path / "config.yaml").is_file() and directory.is_training():
        raise ValueError(f"out={cfg.out} is the directory of a training: name another, or remove it first")
    env = build_env(cfg, num_envs=1, stream="import")
    backbone = build_backbone(cfg, env.spec)
    files, optimizer = pymarl.load(backbone, source), pymarl.load_optimizer(source)
    directory.begin(cfg, seed=cfg.seed, fingerprint=env.spec.fingerprint)
    directory.checkpoints.mkdir(exist_ok=True)
    weights = {f"backbone.{name}": value for name, value in backbone.state_dict().items()}
    checkpoint = {"state_dict": weights, "optimizer_states": [] if optimizer is None else [optimizer]}
    save_tensors(directory.checkpoints / "last.ckpt", checkpoint)
    env.close()
    say(f"read {', '.join(map(str, files))}" + ("" if optimizer is None else f" and {pymarl.OPTIMIZER_FILE}"))
    if len(files) == 1:
        say(f"there is no {pymarl.MIXER_FILE}: the policy is complete, the mixer is untrained")
    say(f"wrote {directory.path}; play it with: ibal evaluate run={directory.path}")
    game = [word for word in HydraConfig.get().overrides.task if word.lstrip("+~").startswith(("env", "backbone"))]
    say(f"train on with: {shlex.join(['ibal', 'experiment=finetune', f'training.init_from={directory.path}', *game])}")


def saved_policy(path: Path) -> Path:
    """The file or folder that holds ``agent.th``; of PyMARL's folders named by env steps, the last one.

    Raises:
        FileNotFoundError: there is none.
    """
    if path.is_file() or (path / pymarl.AGENT_FILE).is_file():
        return path
    steps = [file.parent for file in path.glob(f"*/{pymarl.AGENT_FILE}") if file.parent.name.isdigit()]
    if not steps:
        raise FileNotFoundError(2, f"no {pymarl.AGENT_FILE} there or in its numbered folders", str(path))
    return max(steps, key=lambda folder: int(folder.name))
