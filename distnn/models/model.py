"""`Model`: what is compiled, trained, evaluated, asked for predictions and saved.

Sequential is one; a subclass with `call` is one too. A model owns its weights as one flat vector; engines
copy them in and out. Fitting itself stands in `fitting`.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distnn import layers as layer_registry
from distnn import optimizers
from distnn.custom_objects import CustomObjectScope
from distnn.models import prediction
from distnn.models.compiling import compiled_arguments
from distnn.models.describing import architecture
from distnn.models.fitting import FitArguments, fit_model, train_on_one_batch
from distnn.models.functional_config import network_config, restored_network
from distnn.models.graph_of_layers import GraphOfLayers
from distnn.models.holding import Holding
from distnn.models.mapping import map_model
from distnn.models.outputs import check_compiled, make_objective
from distnn.models.saving import (
    final_snapshot,
    load_weights_from,
    save_model,
    save_weights_to,
)
from distnn.models.states import stateful_layers
from distnn.models.tasks import Tasks, structure_of
from distnn.models.warm_engines import WarmEngines
from distnn.network import Network, in_order
from distnn.objective import Objective
from distnn.recording import Snapshot, TrainingState
from distnn.structure import leaves, mapped
from distnn.summary import print_summary, summary_html, summary_rows, summary_totals
from distnn.tensor import Array, Batch, Spec, Tensor
from distnn.weights import WeightLayout

if TYPE_CHECKING:
    from distnn.callbacks import History
    from distnn.engine import Engine, EngineOptions, Workers
    from distnn.optimizers import Optimizer
    from distnn.recording import Recorder


class Model(GraphOfLayers):
    """A layer that can be trained: functional, from inputs to outputs, or a subclass with a `call`.

    Args:
        inputs: what `Input` gave: one, or a list or dict of several.
        outputs: what layers called on them gave, in any structure.
        name: of the model.
        kwargs: as for any layer.
    """

    def __init__(
        self, inputs: Any = None, outputs: Any = None, name: str | None = None, **kwargs: Any
    ) -> None:
        if (inputs is None) != (outputs is None):
            missing = "outputs" if outputs is None else "inputs"
            raise ValueError(f"a functional model takes `inputs` and `outputs`; `{missing}` is missing")
        super().__init__(name=name, **kwargs)
        self.stop_training = False
        self.history: History | None = None
        self.preprocessor_config: dict[str, Any] | None = None
        self._compiled: dict[str, Any] | None = None
        self._optimizer: Optimizer | None = None
        self._held = Holding()
        self.engines = WarmEngines()
        self._tasks = Tasks()
        if inputs is not None:
            self._take_network(Network(inputs, outputs))

    called_on: Any = None
    """Specs of what a model without known inputs was called on."""

    # Compiling

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        metrics: Sequence[Any] | None = None,
        loss_weights: Any = None,
        weighted_metrics: Sequence[Any] | None = None,
        run_eagerly: bool = False,
        steps_per_execution: int = 1,
        jit_compile: Any = "auto",
    ) -> None:
        """Say how to train: optimizer, loss and metrics, by name or as objects.

        Args:
            optimizer: name or `Optimizer`.
            loss: name, function of `(y_true, y_pred)`, or `Loss`; for several outputs one for all, a list
                in their order, or a dict by their names. None for an output that has no target.
            metrics: a list of names, functions or `Metric`s; for several outputs a list of lists, or a dict.
            loss_weights: by what each output's loss is multiplied.
            weighted_metrics: metrics that sample weights apply to.
            run_eagerly: run `call` op by op on values, so that breakpoints and prints work in it.
            steps_per_execution, jit_compile: accepted for Keras programs; the engine decides both.

        Raises:
            ValueError: for a name that is not known.
        """
        compiled = compiled_arguments(loss, metrics, loss_weights, weighted_metrics, run_eagerly)
        if self.output_names is not None:
            check_compiled(compiled, self.output_names)
        self._compiled = compiled
        self._tasks.forget()
        chosen = optimizers.get(optimizer)
        if chosen is not self._optimizer:
            self._optimizer, self._held.slots = chosen, None

    @property
    def optimizer(self) -> Optimizer:
        if self._optimizer is None:
            raise ValueError("You must call `compile()` before using the model.")
        return self._optimizer

    @property
    def compiled(self) -> dict[str, Any]:
        """What `compile` was given; a model without a loss cannot be trained."""
        if self._compiled is None:
            raise ValueError("You must call `compile()` before using the model.")
        return self._compiled

    @property
    def run_eagerly(self) -> bool:
        return bool(self._compiled and self._compiled["run_eagerly"])

    def call(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """The outputs for inputs in the structure of the functional model's; subclasses define their own."""
        if self._network is None:
            return super().call(inputs, *args, **kwargs)
        given = in_order(inputs, self._network.input_names, "inputs")
        return self._network.run(list(leaves(given)))

    def reset_state(self) -> None:
        """Let stateful layers begin the next batch from zeros."""
        for layer in stateful_layers(self):
            layer.reset_state()

    reset_states = reset_state

    supports_masking = True

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        """None: masks are on the outputs where the layers inside put them."""
        return None

    def objective(self, targets: Sequence[Spec], outputs: Sequence[Spec]) -> Objective:
        """Losses and metrics for such targets and outputs."""
        return make_objective(self.compiled, self.names_of_outputs(len(outputs)), targets, outputs)

    def output_specs(self, inputs: Sequence[Spec]) -> tuple[Spec, ...]:
        """Specs of all outputs, in order, for such inputs; builds the model."""
        argument: Any = inputs[0] if len(inputs) == 1 else list(inputs)
        return tuple(leaves(self.output_structure((argument,), {})))

    # Weights

    def ensure_initialized(self, seed: int | None = None) -> None:
        """Lay all weights out in one vector; those without a value get their first one, from `seed`.

        They are named by their places in this model, whatever other model they belong to.
        """
        if self._held.is_whole and structure_of(self) == self._tasks.structure:
            return
        self.name_parts("")
        self._held.lay_out(self.variables, self.trainable_variables, seed, self._optimizer)
        structure = structure_of(self)
        if structure != self._tasks.structure:
            self._tasks.forget()
            self._tasks.structure = structure

    @property
    def tasks(self) -> Tasks:
        """What has been made ready for the model as it is."""
        return self._tasks

    @property
    def layout(self) -> WeightLayout:
        if self._held.layout is None:
            raise AssertionError("the weights have not been laid out yet")
        return self._held.layout

    def forget_weights(self) -> None:
        """The layers changed: lay the weights out anew at the next use."""
        self._held.forget()
        self._tasks.forget()

    def flat_weights(self, layout: WeightLayout) -> Array:
        """The weights as one vector laid out by `layout`; the model's own, if that is its layout."""
        return self._held.flat_weights(layout)

    @property
    def iterations(self) -> int:
        """The optimizer's updates over the model's whole life."""
        return self._optimizer.iterations if self._optimizer is not None else 0

    def training_state(self, step: int) -> TrainingState:
        """The model's weights and optimizer state as the beginning of a training at `step`."""
        return self._held.state(step, self.iterations, self._optimizer)

    def take_state(self, state: TrainingState) -> None:
        """Copy a committed state into the model."""
        self._held.take(state)
        self.optimizer.iterations = state.iterations

    def optimizer_params(self) -> int:
        """Values the optimizer keeps, its step count and learning rate included; 0 before the first fit."""
        if self._held.slots is None or self._optimizer is None:
            return 0
        trained = sum(variable.size for variable in self.trainable_variables)
        return len(self._held.slots) * trained + 2

    # Calls

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if args and all(isinstance(leaf, Tensor) for leaf in leaves(args[0])):
            self._remember(args[0])
        return super().__call__(*args, **kwargs)

    def _remember(self, inputs: Any) -> None:
        """For what a model without known inputs was built: what is saved of it is built for the same."""
        if self.input_specs is None:
            self.called_on = mapped(_spec_of_samples, inputs)

    def call_on(self, inputs: Sequence[Tensor], training: bool) -> Any:
        """`call` on the input (or the list of inputs) of a batch, without a scope of the model's own name."""
        argument: Any = inputs[0] if len(inputs) == 1 else list(inputs)
        self._remember(argument)
        if "training" in inspect.signature(self.call).parameters:
            return self.call(argument, training=training)
        return self.call(argument)

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: int | str = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: Mapping[int, float] | None = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: int | Sequence[int] = 1,
        *,
        backend: str = "local",
        workers: Workers | None = None,
        shards: int | None = None,
        threads: int | None = None,
        seed: int | None = None,
        run_dir: str | Path | None = None,
        on_nonfinite: str = "stop",
        accept_changes: bool = False,
        address: str | None = None,
        recorder: Recorder | None = None,
        progress_stream: Any = None,
    ) -> History:
        """Train the model for `epochs` passes over the data; Keras's arguments, and where to compute.

        Args:
            x: inputs, samples along axis 0; or a generator, or a `PyDataset`, of batches `(x, y)` or
                `(x, y, sample_weight)`. A dataset goes round; a generator that ends ends the training.
            y: targets.
            batch_size: samples per step; 32 by default.
            epochs: the epoch to stop after, counted from 0 whatever `initial_epoch` is.
            verbose: 0 silent, 1 a bar, 2 a line per epoch, "auto" 1 on a terminal, else 2.
            callbacks: a list of `distnn.callbacks.Callback`.
            validation_split: the last part of the data is held out.
            validation_data: `(x, y)` or `(x, y, sample_weight)`; or a generator or `PyDataset`, whose
                batches are pulled once and kept.
            shuffle: whether each epoch has an order of its own; of a `PyDataset` the order of batches.
            class_weight: weight of each class of integer or one-hot targets.
            sample_weight: weight of each sample, or of each of its steps, `(samples, steps)`.
            initial_epoch: the epoch to begin at.
            steps_per_epoch: steps after which an epoch ends; a generator needs it for several epochs.
            validation_steps: how many batches to validate on.
            validation_batch_size: batch size of the validation; that of the training by default.
            validation_freq: validate every so many epochs, or after the epochs named, counted from 1.
            backend: "local" (one process), "threads" (one process, shards in threads) or "ray".
            workers: threads or Ray actors; with "local" only the number of shards follows from it. A pair
                is a range: the training waits for the first number of actors, and goes on with up to the
                second as they come and go.
            shards: fixed slices of the batch; part of what the bytes depend on. By default as many as
                workers (the most of a range), but at least 16 samples each.
            threads: for the products of a shard; 1, but all cores for a plain `fit` of one process.
            seed: of order, dropout and (for a model that has none yet) initial weights; drawn if None.
            run_dir: a directory that keeps the run, so that it can be resumed. Ctrl-C stops such a training
                at a commit, with a checkpoint; a second one, or two seconds without a commit, at once.
            on_nonfinite: what happens at a step with NaN or infinity in a loss, a gradient or new weights:
                "stop" (`NonFiniteError` says where it comes from; the model is that of the step before) or
                "skip" (the step counts, the weights stay).
            accept_changes: go on with a run in `run_dir` even if its recorded steps do not come to the same
                bytes any more.
            address: of a running Ray cluster that this machine is a node of; by default Ray is embedded.
            recorder: what keeps the run, instead of `run_dir`.
            progress_stream: where progress is written; standard output by default.

        Returns:
            The `History`: a list per loss and metric, and `val_` ones.

        Raises:
            ValueError: for data or arguments that do not fit; nothing has been trained then.
            NonFiniteError: see `on_nonfinite`.
            ResumeMismatchError: see `accept_changes`; the run is as it was.
        """
        given = {key: value for key, value in locals().items() if key not in ("self", "__class__")}
        return fit_model(self, FitArguments(**given))

    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: Mapping[int, float] | None = None,
        return_dict: bool = False,
        *,
        backend: str = "local",
        workers: Workers | None = None,
        shards: int | None = None,
        address: str | None = None,
        on_nonfinite: str = "stop",
    ) -> Any:
        """One step on one batch. Returns the loss, a list with the metrics, or a dict.

        A step that `on_nonfinite="skip"` skips returns NaN for all of them.
        """
        arguments = FitArguments(
            x=x,
            y=y,
            sample_weight=sample_weight,
            class_weight=class_weight,
            backend=backend,
            workers=workers,
            shards=shards,
            address=address,
            on_nonfinite=on_nonfinite,
        )
        return prediction.keras_result(train_on_one_batch(self, arguments), return_dict)

    def test_on_batch(
        self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False
    ) -> Any:
        """Loss and metrics of one batch, in this process: the loss, a list with the metrics, or a dict."""
        logs = prediction.evaluate_model(self, x, y, sample_weight, prediction.one_batch(x))
        return prediction.keras_result(logs, return_dict)

    def predict_on_batch(self, x: Any) -> Any:
        """The model's outputs for one batch, in this process."""
        return prediction.predict_model(self, x, prediction.one_batch(x))

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: int | str = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Any = None,
        return_dict: bool = False,
        *,
        backend: str = "local",
        workers: Workers | None = None,
        shards: int | None = None,
        address: str | None = None,
    ) -> Any:
        """Loss and metrics over the data: a list in compile order (a number without metrics), or a dict.

        Of the callbacks, `on_test_begin` and `on_test_end` are called. With `verbose="auto"` progress is
        shown on terminals only.
        """
        how = prediction.Pass(batch_size, steps, callbacks, verbose, backend, workers, shards, address)
        logs = prediction.evaluate_model(self, x, y, sample_weight, how)
        return prediction.keras_result(logs, return_dict)

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: int | str = 0,
        steps: int | None = None,
        callbacks: Any = None,
        *,
        backend: str = "local",
        workers: Workers | None = None,
        shards: int | None = None,
        address: str | None = None,
    ) -> Any:
        """The model's outputs for `x`, in its order."""
        how = prediction.Pass(batch_size, steps, callbacks, verbose, backend, workers, shards, address)
        return prediction.predict_model(self, x, how)

    def map(
        self,
        function: Callable[[Any, Any], Any],
        items: Iterable[Any],
        *,
        backend: str = "local",
        workers: int | None = None,
        address: str | None = None,
    ) -> list[Any]:
        """`function(model, item)` for each item, shared out among the workers: games, samples, evaluations.

        Over Ray each worker has a copy of the model with the weights as they are now; in one process it is
        called with the model itself, item after item. What the function does to the model is lost or not,
        accordingly: let it only ask. If it depends on nothing but the weights and the item (random numbers
        keyed by the item, say), the results are the same wherever it is called. Items of a worker that is
        lost are done again by the others; one that takes more than five minutes counts as lost.

        Args:
            function: called with a model and an item.
            items: what to call it for.
            backend, workers, address: as of `fit`, whose workers are used where they are the same.

        Returns:
            The results, in the order of the items.

        Raises:
            UserCodeError: the function raised in a worker; in one process its own exception is raised.
        """
        how = prediction.Pass(backend=backend, workers=workers, address=address)
        return map_model(self, function, items, how)

    # Engines

    def engine_for(self, backend: str, options: EngineOptions) -> Engine:
        """The backend's engine, kept warm between calls."""
        return self.engines.get(backend, options)

    def close(self) -> None:
        """End the workers that were kept warm."""
        self.engines.close()

    def __enter__(self) -> Model:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # Showing and saving

    def get_config(self) -> dict[str, Any]:
        """The name, and of a functional model all that it is made of; JSON-able."""
        if self._network is None or type(self).__init__ is not Model.__init__:
            return {"name": self.name}
        return {"name": self.name, **network_config(self._network)}

    @classmethod
    def from_config(cls, config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Model:
        """A functional model from its configuration; of a subclass with a constructor, what that makes of it.

        Args:
            config: what `get_config` returned.
            custom_objects: classes and functions of your own by name, if they are not registered.
        """
        if "calls" not in config:
            return cls(**config)
        model = cls(name=config.get("name"))
        with CustomObjectScope(custom_objects):
            model._take_network(restored_network(config))
        return model

    def summary(
        self,
        line_length: int | None = None,
        print_fn: Callable[[str], None] | None = None,
        expand_nested: bool = False,
        show_trainable: bool = False,
    ) -> None:
        """Print the layers, their output shapes and parameters, as Keras does."""
        print_summary(
            self,
            line_length=line_length,
            print_fn=print_fn,
            expand_nested=expand_nested,
            show_trainable=show_trainable,
        )

    def _repr_html_(self) -> str:
        """The summary, for a notebook."""
        return summary_html(self.name, summary_rows(self), summary_totals(self))

    def to_json(self, **options: Any) -> str:
        """How to rebuild the model, without weights; `model_from_json` reads it.

        Args:
            options: of `json.dumps`.

        Raises:
            ValueError: for a model of the user's own class.
        """
        return json.dumps(architecture(self), **options)

    def save(self, filepath: str | Path, overwrite: bool = True) -> None:
        """Keep architecture, compile arguments and weights in one safetensors file.

        Args:
            filepath: ends in `.safetensors`, `.keras` or `.h5`; the content is the same.
            overwrite: whether a file that is there is replaced.
        """
        save_model(self, Path(filepath), overwrite)

    def save_weights(self, filepath: str | Path, overwrite: bool = True) -> None:
        """Keep the weights by name in one safetensors file; for names see `save`."""
        save_weights_to(self, Path(filepath), overwrite)

    def load_weights(self, filepath: str | Path) -> None:
        """Read weights that `save` or `save_weights` wrote; all or none."""
        load_weights_from(self, Path(filepath))

    def final_snapshot(self, step: int) -> Snapshot:
        """The finished model as a run directory keeps it."""
        return final_snapshot(self, step)

    def __getstate__(self) -> dict[str, Any]:
        """The description only: no weights, no engine, no history; what a worker is sent."""
        own: dict[str, Any] = {
            "history": None,
            "_held": Holding(),
            "engines": WarmEngines(),
            "_tasks": Tasks(),
        }
        return {**self.__dict__, **own}


def _spec_of_samples(tensor: Tensor) -> Spec:
    return Spec((Batch(), *tensor.spec.shape[1:]), tensor.spec.dtype)


layer_registry.register_model(Model)
