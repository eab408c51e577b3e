"""How a folder of checkpoints is watched."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tasks.settings import Settings

MARKERS = ("_SUCCESS", "trainer_state.json")  # the second is what transformers' Trainer writes last


class WatchSettings(Settings):
    """Options of ``hardmine watch``."""

    marker: str = Field(
        "auto",
        pattern=r"^[^/\\]+$",
        description="File that makes a checkpoint complete, if nothing in it was written later. "
        "auto: _SUCCESS or trainer_state.json; none: only time counts.",
    )
    stable_for: float = Field(
        60.0,
        ge=0,
        description="Seconds without a change after which a checkpoint counts as complete without its marker being the last file.",
    )
    poll: float = Field(10.0, ge=0.1, description="Seconds between two looks.")
    newest_by: Literal["time", "step"] = Field(
        "time",
        description="Which of several is the newest: the one written last, or the one with the largest number at the end of its name.",
    )

    @property
    def markers(self) -> tuple[str, ...]:
        """Names of files that make a checkpoint complete."""
        return MARKERS if self.marker == "auto" else () if self.marker == "none" else (self.marker,)

    @property
    def marker_needed(self) -> bool:
        """Whether a checkpoint without a marker is never complete."""
        return self.marker not in ("auto", "none")
