"""``python -m ibal_lightning`` and the console script ``ibal``."""

from __future__ import annotations

import sys

from ibal_lightning.cli.app import main as run


def main() -> None:
    """Run the command line and exit with its code."""
    sys.exit(run())


if __name__ == "__main__":
    main()
