"""``list``: every choice, where it comes from, whether it can run here."""

from __future__ import annotations

from omegaconf import DictConfig
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ibal_lightning.cli.availability import availability
from ibal_lightning.messages import did_you_mean
from ibal_lightning.offers import Offer, offers

PLUMBING = {"hydra", "types", "command", "by_backbone"}  # parts of groups that no user chooses from


def run(cfg: DictConfig) -> None:
    """Print one table, of all groups or of ``group``.

    Raises:
        ValueError: there is no such group; names the nearest.
    """
    found = {key: items for key, items in sorted(offers().items()) if chosen_from(key[0])}
    groups = sorted({group for group, _ in found})
    if cfg.group is not None and cfg.group not in groups:
        raise ValueError(
            f"group={cfg.group}: no such group{did_you_mean(cfg.group, groups)}; there are {', '.join(groups)}"
        )
    Console().print(choices_table({key: items for key, items in found.items() if cfg.group in (None, key[0])}))


def chosen_from(group: str) -> bool:
    """Whether a user chooses from this group."""
    return PLUMBING.isdisjoint(group.split("/"))


def choices_table(found: dict[tuple[str, str], tuple[Offer, ...]]) -> Table:
    """Group, choice, kind, origin, and whether it can run here."""
    table = Table(box=None, pad_edge=False)
    for title in ("group", "choice", "kind", "from"):
        table.add_column(title, no_wrap=True)
    table.add_column("runs here")
    previous = None
    for (group, name), items in found.items():
        if previous not in (None, group):
            table.add_section()
        usable, note = availability(items)
        words = ("yes" if usable else "[red]no[/red]") + (f": {escape(note)}" if note else "")
        table.add_row("" if group == previous else group, name, kind(items), origins(items), words)
        previous = group
    return table


def kind(items: tuple[Offer, ...]) -> str:
    """``class`` (options from its signature) or ``preset`` (YAML)."""
    return "class" if all(item.preset is None for item in items) else "preset"


def origins(items: tuple[Offer, ...]) -> str:
    """The distributions that offer it, with versions."""
    return ", ".join(dict.fromkeys(str(item) for item in items))
