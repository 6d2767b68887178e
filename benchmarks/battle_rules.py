"""The options with which benchmarks play under other battle rules than the default."""

from __future__ import annotations

import argparse
import json
from typing import Any

from ibal_lightning.envs.skirmish.stats import STATS


def add_rules(parser: argparse.ArgumentParser) -> None:
    """``--stats``, and ``--set RULE=VALUE`` for the switches of ``envs/skirmish/switches.py``."""
    parser.add_argument("--stats", choices=STATS, default=STATS[0], help="weapons")
    parser.add_argument(
        "--set", nargs="*", default=[], type=parse_setting, metavar="RULE=VALUE", help="battle switches"
    )


def chosen_rules(args: argparse.Namespace) -> dict[str, Any]:
    """What an environment's constructor takes."""
    return {"stats": args.stats, "switches": dict(args.set)}


def parse_setting(text: str) -> tuple[str, Any]:
    """A ``name=value`` battle switch; the value is read as JSON where it can be."""
    name, _, value = text.partition("=")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value
