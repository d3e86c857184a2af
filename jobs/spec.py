"""What a job is asked to do: the spec, as frozen pydantic models.

Only shapes and types are checked here; names of layers, losses and so on, and their parameters, are checked
by `jobs.catalog`. Files are read by `jobs.specfile`. The field descriptions become `distnn schema`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    JsonValue,
    SerializerFunctionWrapHandler,
    WithJsonSchema,
    model_serializer,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

Text = Annotated[str, Field(strict=True, min_length=1)]
Count = Annotated[int, Field(strict=True, gt=0)]
Flag = Annotated[bool, Field(strict=True)]
Positive = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
Texts = Annotated[tuple[Text, ...], Field(strict=False)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class NamedObject(BaseModel):
    """A layer, loss, optimizer, ... by the name of its type, with its parameters as further keys."""

    model_config = ConfigDict(frozen=True, extra="allow")

    type: Text = Field(description="Name of the class, as in Keras; or a short name such as 'adam'.")

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"type": value}
        if not isinstance(value, (dict, NamedObject)):
            raise PydanticCustomError("named_object", "expected a name, or a table with a `type`")
        return value

    @property
    def params(self) -> dict[str, Any]:
        """The keys beside `type`."""
        return dict(self.model_extra or {})

    @model_serializer(mode="wrap")
    def _to_plain(self, handler: SerializerFunctionWrapHandler) -> Any:
        plain = handler(self)
        return plain if self.model_extra else self.type

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        table = handler.resolve_ref_schema(handler(core_schema))
        return {
            "description": cls.__doc__,
            "anyOf": [
                {"type": "string", "minLength": 1},
                {
                    "type": "object",
                    "properties": {"type": table["properties"]["type"]},
                    "required": ["type"],
                    "additionalProperties": True,
                },
            ],
        }


Objects = Annotated[tuple[NamedObject, ...], Field(strict=False)]


class Workers(_Section):
    """How many workers: a number (at most so many, at least one), or a range within which they may join and
    leave."""

    min: Count = Field(default=1, description="With fewer the run waits.")
    max: Count = Field(description="The most that are used; the default of `shards` comes from it.")

    @model_validator(mode="before")
    @classmethod
    def _from_number(cls, value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, (int, dict, Workers)):
            raise PydanticCustomError(
                "workers", "expected a whole number above 0, or a table with `min` and `max`"
            )
        if isinstance(value, int):
            if value < 1:
                raise PydanticCustomError("workers", "expected a whole number above 0")
            return {"min": 1, "max": value}
        return value

    @model_validator(mode="after")
    def _in_order(self) -> Workers:
        if self.min > self.max:
            raise PydanticCustomError(
                "workers", "`min` is {low}, above `max` {high}", {"low": self.min, "high": self.max}
            )
        return self

    @model_serializer(mode="wrap")
    def _to_plain(self, handler: SerializerFunctionWrapHandler) -> Any:
        return self.max if self.min == 1 else handler(self)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        table = handler.resolve_ref_schema(handler(core_schema))
        return {"description": cls.__doc__, "anyOf": [{"type": "integer", "exclusiveMinimum": 0}, table]}


def _check_one_hot(value: Any) -> Any:
    if isinstance(value, bool) or (isinstance(value, int) and value > 1):
        return value
    raise PydanticCustomError("one_hot", "expected true, false, or the number of classes (above 1)")


OneHot = Annotated[
    bool | int,
    BeforeValidator(_check_one_hot),
    WithJsonSchema({"anyOf": [{"type": "boolean"}, {"type": "integer", "exclusiveMinimum": 1}]}),
]


class DataSpec(_Section):
    """Where the samples come from and what is done to them before training."""

    source: Text = Field(
        description="'builtin:digits', a .npz, .npy or .csv file (relative to the spec), "
        "or 'python:MODULE:FUNCTION' whose function returns the arrays."
    )
    options: dict[Text, JsonValue] | None = Field(
        default=None,
        description="For a python source: keyword arguments of its function, handed over as they are "
        "(a relative path counts from the folder in which distnn is called).",
    )
    labels: Text | None = Field(
        default=None, description="For a .npy source: the .npy file with the targets."
    )
    target: Text | None = Field(default=None, description="For a .csv source: the column to predict.")
    categorical: Texts = Field(
        default=(), description="For a .csv source: columns whose numbers are names, to be one-hot encoded."
    )
    drop: Texts = Field(default=(), description="For a .csv source: columns to leave out.")
    delimiter: Annotated[str, Field(strict=True, min_length=1, max_length=1)] = Field(
        default=",", description="For a .csv source: the character between values."
    )
    validation: Text | None = Field(default=None, description="A second source, held out of the training.")
    validation_labels: Text | None = Field(default=None, description="As `labels`, for a .npy `validation`.")
    validation_fraction: Annotated[float, Field(strict=True, gt=0, lt=1)] | None = Field(
        default=None, description="The share of the samples held out of the training, chosen by the seed."
    )
    normalize: Literal["standard", "minmax"] | None = Field(
        default=None, description="Scale the inputs by what the training part shows; saved with the model."
    )
    one_hot: OneHot = Field(
        default=False, description="Turn class numbers into one-hot vectors (of this length)."
    )

    @model_validator(mode="after")
    def _one_validation(self) -> DataSpec:
        if self.validation is not None and self.validation_fraction is not None:
            raise PydanticCustomError(
                "exclusive", "`validation` and `validation_fraction` are both given: keep one of them"
            )
        return self


class ModelSpec(_Section):
    """The network: a list of layers, or a function that returns a model."""

    layers: Objects | None = Field(
        default=None, description="A Sequential model's layers, first to last; the data give the input shape."
    )
    factory: Annotated[str, Field(strict=True, pattern=r"^[\w.]+:\w+$")] | None = Field(
        default=None, description="'MODULE:FUNCTION' beside the spec; it returns an uncompiled model."
    )

    @model_validator(mode="after")
    def _one_form(self) -> ModelSpec:
        if (self.layers is None) == (self.factory is None):
            what = "neither is" if self.layers is None else "both are"
            raise PydanticCustomError(
                "exclusive", "give either `layers` or `factory` ({what} given)", {"what": what}
            )
        if self.layers is not None and not self.layers:
            raise PydanticCustomError("empty", "`layers` is empty: give at least one layer")
        return self


class TrainingSpec(_Section):
    """How the network is trained. What is here, the seed and the data decide the weights' bytes."""

    loss: NamedObject = Field(description="As in Keras's `compile`, such as 'mse'.")
    optimizer: NamedObject = Field(
        default=NamedObject(type="rmsprop"),
        description="As in Keras's `compile`; its `learning_rate` may be a table: a schedule by its `type`.",
    )
    metrics: Objects = Field(default=(), description="Reported per epoch, such as 'accuracy'.")
    callbacks: Objects = Field(
        default=(),
        description="What steers the training, such as {type = 'EarlyStopping', patience = 3}.",
    )
    epochs: Count = Field(description="Passes over the training samples.")
    batch_size: Count = Field(
        default=32, description="Samples a step, over all workers; the last step may be short."
    )
    shards: Count | None = Field(
        default=None,
        description="Fixed slices of a batch, the unit of arithmetic; default: the most workers of "
        "[cluster], but none smaller than 16 samples.",
    )
    shuffle: Flag = Field(
        default=True, description="A new order of the samples in each epoch, from the seed."
    )
    on_nonfinite: Literal["stop", "skip"] = Field(
        default="stop",
        description="At a step with NaN or infinity in a loss, a gradient or new weights: 'stop' says where "
        "it comes from, 'skip' lets the step count and the weights stay.",
    )
    class_weight: dict[Text, Annotated[float, Field(strict=True, ge=0)]] | None = Field(
        default=None, description="Weight of each class in the loss, by class number."
    )


class ClusterSpec(_Section):
    """Where the work is done. Nothing here changes the bytes, once `shards` and `threads` are settled."""

    backend: Literal["local", "threads", "ray"] = Field(
        default="local", description="One process, shards in threads, or Ray."
    )
    workers: Workers | None = Field(default=None, description="How many compute shards at the same time.")
    threads: Count | None = Field(default=None, description="Threads for the products of a shard. Default 1.")
    exchange: Literal["auto", "shared_memory", "hierarchical", "object_store"] = Field(
        default="auto",
        description="How Ray workers sum gradients: 'shared_memory' if all are on the coordinator's node, "
        "'hierarchical' (shared memory within each node, objects between them), 'object_store' (one object "
        "per worker); 'auto' takes the first of these that suits the nodes.",
    )
    retries: Annotated[int, Field(strict=True, ge=0)] = Field(
        default=0,
        description="How often to start the run's process again after a crash, from the newest checkpoint.",
    )
    deadline_seconds: Positive = Field(
        default=10.0,
        description="How long a worker may be silent before it is treated as dead, or twenty times what "
        "a step usually takes, if that is longer.",
    )
    wait_seconds: Positive = Field(
        default=600.0, description="How long the run waits for `workers.min` workers before it fails."
    )


class CheckpointSpec(_Section):
    """When the training is saved so that it can go on from there."""

    every_seconds: Positive | None = Field(
        default=None, description="Default 30, if `every_steps` is not given."
    )
    every_steps: Count | None = Field(
        default=None, description="Save at multiples of this step, not by the clock."
    )
    keep: Count = Field(default=3, description="How many checkpoints stay; older ones are removed.")

    @model_validator(mode="after")
    def _one_rhythm(self) -> CheckpointSpec:
        if self.every_seconds is not None and self.every_steps is not None:
            raise PydanticCustomError(
                "exclusive", "`every_seconds` and `every_steps` are both given: keep one of them"
            )
        return self


class JobSpec(_Section):
    """A training job for distnn."""

    name: Annotated[str, Field(strict=True, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")] = Field(
        description="Begins the names of run directories."
    )
    seed: Annotated[int, Field(strict=True, ge=0, lt=1 << 63)] | None = Field(
        default=None, description="Of everything random. Default: one is drawn and recorded."
    )
    data: DataSpec
    model: ModelSpec
    training: TrainingSpec
    cluster: ClusterSpec = Field(default=ClusterSpec())
    checkpoint: CheckpointSpec = Field(default=CheckpointSpec())

    def to_plain(self) -> dict[str, Any]:
        """JSON-able, without keys that are not set; `JobSpec.model_validate` gives the spec back."""
        plain: dict[str, Any] = self.model_dump(mode="json", exclude_none=True)
        return plain
