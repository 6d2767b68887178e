"""Tensors in files: never half of one, never anything executed from one, and messages that name the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ibal_lightning.functional.files import write_then_rename
from ibal_lightning.messages import first_line


def save_tensors(path: Path, content: Any) -> None:
    """Write tensors and plain containers.

    Raises:
        OSError: the folder cannot be written or its disk is full; ``path`` is as it was.
    """

    def write(temporary: Path) -> None:
        try:
            with temporary.open("wb") as file:
                torch.save(content, file)
        except RuntimeError as error:  # torch hides what the disk said
            if isinstance(error.__context__, OSError):
                raise error.__context__ from error
            raise

    write_then_rename(path, write)


def load_tensors(path: Path, what: str) -> Any:
    """What ``save_tensors`` wrote, on the CPU; ``what`` it should be is named in messages.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is corrupt or holds something else than tensors and plain containers.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # a hostile or torn file makes the unpickler fail in any way it likes
        raise ValueError(f"{path} is corrupt or not {what}: {first_line(error)}") from error
