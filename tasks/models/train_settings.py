"""What a user says about training the retriever. Imports no torch."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from tasks.models.losses.settings import AnyLoss, InBatchSettings, MaskedMultipleNegativesRankingSettings
from tasks.settings import Settings


class TrainSettings(Settings):
    """How a round's training rows become the next checkpoint."""

    loss: AnyLoss = Field(MaskedMultipleNegativesRankingSettings(), description="The loss and its own settings.")
    epochs: int = Field(1, ge=1, le=1000, description="Passes over the rows of each training stage.")
    batch_size: int = Field(48, ge=2, le=65_536, description="Rows a step.")
    mini_batch_size: int | None = Field(
        None, ge=1, description="Rows that are embedded at a time, with gradients cached (GradCache), for losses over the whole batch."
    )
    learning_rate: float = Field(3e-5, gt=0, le=1, description="Peak of the linear schedule.")
    warmup: float = Field(0.1, ge=0, le=1, description="Share of the steps in which the rate rises.")
    weight_decay: float = Field(0.01, ge=0, le=1, description="Of AdamW.")
    max_length: int = Field(256, ge=8, le=131_072, description="Tokens that the model is given at most, while training.")
    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="bfloat16: autocast; weights stay float32. auto: where the hardware has it."
    )
    gradient_checkpointing: bool = Field(False, description="Compute activations again in the backward pass: less memory, more time.")
    devices: int = Field(
        1,
        ge=1,
        le=64,
        description="GPUs of one machine (processes, on a CPU) that share each step's rows, for losses over the whole batch; "
        "with loss.gather_across_devices each row meets the documents of all.",
    )
    num_negatives: int | None = Field(None, ge=0, le=1000, description="A row's first negatives that are used; empty: all of them.")
    earlier: float = Field(0.0, ge=0, le=1, description="Share of the rows whose negatives come from an earlier round, where one has them.")
    random: float = Field(0.0, ge=0, le=1, description="Share of the negatives that are replaced by random documents of the corpus.")
    save_every: int = Field(200, ge=1, description="Steps between checkpoints: what a kill can lose.")
    seed: int = Field(0, ge=0, le=2**31 - 1, description="Of the rows' order, of both mixes, and of what a loss draws from torch.")

    @model_validator(mode="after")
    def _cached_losses_only(self) -> Self:
        if self.mini_batch_size is None:
            return self
        own = getattr(self.loss, "mini_batch_size", None)
        if not isinstance(self.loss, InBatchSettings):
            raise ValueError(f"mini_batch_size: loss {self.loss.kind} does not cache gradients; leave it out and lower batch_size")
        if own not in (None, self.mini_batch_size):
            raise ValueError(f"mini_batch_size is {self.mini_batch_size} here and {own} in the loss; give it once")
        return self

    @model_validator(mode="after")
    def _shared_out(self) -> Self:
        if self.devices == 1:
            return self
        if not isinstance(self.loss, InBatchSettings):
            raise ValueError(f"devices: loss {self.loss.kind} trains on one device; leave it out, or take a loss over the whole batch")
        if self.batch_size % self.devices or self.batch_size < 2 * self.devices:
            raise ValueError(
                f"batch_size: {self.batch_size} rows a step cannot be shared out to {self.devices} devices, two rows or more each"
            )
        return self

    @property
    def built_loss(self) -> AnyLoss:
        """The loss with the mini-batch size that is given here."""
        return self.loss if self.mini_batch_size is None else self.loss.model_copy(update={"mini_batch_size": self.mini_batch_size})
