"""EPyMARL beside ours: env steps per CPU second of QMIX on one LBF task, 32 episodes an update, one update an episode.

Each side trains twice, with a short and a long budget; the rate is of the steps and the CPU seconds between, so that
start-up does not count. The sides take turns, because a shared machine is not equally fast at all times: of
``--epymarl-pairs`` turns the median ratio counts. Neither tests meanwhile. Agents have no memory and do not read their
last action, as is EPyMARL's default; with ``--epymarl-rnn`` both have a GRU.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from arguments import count, program
from plain_json import write_json

SHORT, LONG = 2_000, 22_000
NO_TESTS = 100_000_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this comparison."""
    parser.add_argument("--epymarl", type=Path, help="a checkout of EPyMARL")
    parser.add_argument("--epymarl-python", type=program, default=sys.executable, help="has its requirements")
    parser.add_argument("--epymarl-rnn", action="store_true", help="both with a GRU")
    parser.add_argument("--epymarl-pairs", type=count, default=5, help="how often each side is measured, in turns")


def theirs(args: argparse.Namespace, env_steps: int) -> tuple[int, float]:
    """Env steps (short of one episode exact) and CPU seconds of EPyMARL with this budget."""
    settings = {
        **{"env_args.key": f"lbforaging:{args.map}", "env_args.time_limit": 50, "t_max": env_steps},
        **{"test_interval": NO_TESTS, "test_nepisode": 1, "use_cuda": False, "use_rnn": args.epymarl_rnn},
        **{"log_interval": NO_TESTS, "runner_log_interval": NO_TESTS, "learner_log_interval": NO_TESTS},
    }
    command = [args.epymarl_python, "src/main.py", "--config=qmix", "--env-config=gymma", "with"]
    return env_steps, cpu_seconds([*command, *(f"{name}={value}" for name, value in settings.items())], args.epymarl)


def ours(args: argparse.Namespace, env_steps: int) -> tuple[int, float]:
    """Env steps and CPU seconds of our train command with this budget: it ends with a whole rollout of all games."""
    with tempfile.TemporaryDirectory() as folder:
        words = [
            *("env=lbf", f"env.task={args.map}", "method=vanilla", "logger=csv", f"hydra.run.dir={folder}/run"),
            *("training.updates_per_episode=1", f"training.env_steps={env_steps}", "training.test_interval=0"),
            *("training.checkpoint_interval=0", "evaluation.attacks=[natural]", "evaluation.episodes=1"),
            *(f"backbone.use_rnn={args.epymarl_rnn}", "backbone.last_action=false"),
        ]
        seconds = cpu_seconds([sys.executable, "-m", "ibal_lightning", *words, *args.overrides], Path.cwd())
        checkpoint = torch.load(Path(folder, "run/checkpoints/last.ckpt"), weights_only=True)
        return checkpoint["InducedDecPOMDP"]["env_steps"], seconds


def cpu_seconds(command: list[str], folder: Path) -> float:
    """User and system seconds of a process and its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    one_thread = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=folder, env=one_thread, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def compare(args: argparse.Namespace) -> None:
    """Print the rates and their ratio, pair by pair, and the medians; write them where ``--json`` asks for it."""
    pairs = []
    print(f"{'EPyMARL':>8}{'ours':>8}{'ratio':>8}   env steps per CPU second", flush=True)
    for _ in range(args.epymarl_pairs):
        pairs.append((rate(theirs, args), rate(ours, args)))
        peer, mine = pairs[-1]
        show(peer, mine, mine / peer)
    print("medians", flush=True)
    ratio = statistics.median(mine / peer for peer, mine in pairs)
    show(statistics.median(peer for peer, _ in pairs), statistics.median(mine for _, mine in pairs), ratio)
    if args.json:
        asked = {"map": args.map, "rnn": args.epymarl_rnn, "overrides": args.overrides}
        write_json(args.json, {**asked, "pairs": pairs, "ratio": ratio})


def rate(side: Callable[[argparse.Namespace, int], tuple[int, float]], args: argparse.Namespace) -> float:
    """Env steps per CPU second of one side between the two budgets."""
    (steps, seconds), (more_steps, more_seconds) = side(args, SHORT), side(args, LONG)
    return (more_steps - steps) / (more_seconds - seconds)


def show(peer: float, mine: float, ratio: float) -> None:
    """Print one line of the table."""
    print(f"{peer:>8,.0f}{mine:>8,.0f}{ratio:>8.1f}", flush=True)
