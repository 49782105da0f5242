"""How JAX takes and applies the gradients of one adversarial step.

On JAX a step is a function from state to state: what Keras hands in and expects back
are the values of all variables, in their order.
"""

import itertools
from collections.abc import Iterator

import jax
import keras
import numpy as np
from jax import numpy as jnp

from egan_keras import accelerators, losses
from egan_keras.model.step.forward import forward, points_between, with_losses
from egan_keras.networks import in_full_precision


class Step:
    """The step of JAX, from state to state, see `protocol.Step`."""

    def __init__(self, **kwargs) -> None:
        super().__init__(**kwargs)
        self._penalty_seeds = keras.random.SeedGenerator()

    @staticmethod
    def execution_options() -> dict:
        """Returns how `keras.Model.compile` is told to run steps, where not told."""
        return {"jit_compile": True, "steps_per_execution": 8}

    @property
    def non_trainable_variables(self) -> list:
        """The state that no gradient changes, the second optimizer's included.

        Keras's state has room for one optimizer. What is not in the state would be
        compiled into the step, such as the tables that training reads.
        """
        variables = list(super().non_trainable_variables)
        if tables := getattr(self, "_tables", None):
            variables += tables.variables
        if optimizer := getattr(self, "generator_optimizer", None):
            variables += optimizer.variables
        return variables

    def make_train_function(self, force: bool = False) -> None:
        """Compiles, on accelerators, the steps of an execution as one.

        Keras starts each by itself, which on a GPU takes several times as long as the
        step. So start those at an epoch's end that are too few or differ in shape. On
        processors XLA's loops take half as long again where they hold convolutions.
        """
        if self.train_function is not None and not force:
            return
        super().make_train_function(force)
        if (
            self.steps_per_execution == 1
            or not accelerators.has_accelerator()
            or not self.jit_compile
            or self.run_eagerly
        ):
            return
        compiled = jax.jit(self._steps_in_turn, donate_argnums=0)
        one_by_one, count = self.train_function, self.steps_per_execution
        numbers = self._row_numbers

        def execute(state: tuple, iterator: Iterator) -> tuple:
            # Keras would send each batch of numbers to the device by itself.
            batches = _next(iterator, count) if numbers is None else numbers.take(count)
            shapes = {tuple(x.shape for x in jax.tree.leaves(b)) for b in batches}
            if len(batches) == count and len(shapes) == 1:
                return compiled(state, jax.tree.map(_stacked, *batches))
            return one_by_one(state, iter(batches))

        self.train_function = execute

    def _steps_in_turn(self, state: tuple, batches) -> tuple:
        """Returns the metrics after the last of several steps, and the state."""

        def step(state, batch):
            logs, state = self.train_step(state, batch)
            return state, logs

        state, logs = jax.lax.scan(step, state, batches)
        return jax.tree.map(lambda values: values[-1], logs), state

    def train_step(self, state: tuple, batch) -> tuple:
        """Carries out one step on (majority, minority, known minority).

        Returns:
            The metrics, and the state after the step.
        """
        trainable, other, optimizer_values, metric_values = state

        def both_losses(trainable):
            known = [*self.trainable_variables, *self.non_trainable_variables]
            mapping = zip(
                [*known, *self.optimizer.variables],
                [*trainable, *other, *optimizer_values],
                strict=True,
            )
            with keras.StatelessScope(mapping, collect_losses=True) as scope:
                inputs = self.step_inputs(self.step_rows(batch))
                outcome = with_losses(self, forward(self, *inputs))
                # In float16, gradients of losses as they are would vanish.
                scaled = (
                    self.optimizer.scale_loss(outcome["discriminator_loss"]),
                    self.generator_optimizer.scale_loss(outcome["generator_loss"]),
                )
            return scaled, (outcome, _values(scope, self.non_trainable_variables))

        scaled, pull_back, (outcome, other) = jax.vjp(
            both_losses, trainable, has_aux=True
        )
        one, zero = jnp.ones_like(scaled[0]), jnp.zeros_like(scaled[0])
        count = len(other) - len(self.generator_optimizer.variables)
        generator_values = other[count:]
        trainable, optimizer_values = self._apply(
            self.optimizer,
            optimizer_values,
            pull_back((one, zero))[0],
            trainable,
            self.discriminator.tail,
        )
        trainable, generator_values = self._apply(
            self.generator_optimizer,
            generator_values,
            pull_back((zero, one))[0],
            trainable,
            self.generator.tail,
        )
        mapping = zip(self.metrics_variables, metric_values, strict=True)
        with keras.StatelessScope(mapping) as scope:
            logs = self.update_training_metrics(outcome)
        metric_values = _values(scope, self.metrics_variables)
        other = [*other[:count], *generator_values]
        return logs, (trainable, other, optimizer_values, metric_values)

    def gradient_penalty(self, majority, fakes):
        """Returns the gradient penalty at random points between majority and fakes."""
        tail, seeds = self.discriminator.tail, self._penalty_seeds
        real = [in_full_precision(each) for each in keras.tree.flatten(majority)]
        share = keras.random.uniform((len(real[0]),), dtype=real[0].dtype, seed=seeds)
        between = points_between(real, keras.tree.flatten(fakes), share)

        def total_score(points):
            inputs = keras.tree.pack_sequence_as(tail.input, points)
            return jnp.sum(in_full_precision(tail(inputs, training=True)))

        return losses.gradient_norm_penalty(jax.grad(total_score)(between))

    def _apply(self, optimizer, optimizer_values, gradients, trainable, tail) -> tuple:
        """Returns all trained values after one optimizer's step, and its own."""
        places = {id(v): i for i, v in enumerate(self.trainable_variables)}
        own = [places[id(variable)] for variable in tail.trainable_variables]
        after, optimizer_values = optimizer.stateless_apply(
            optimizer_values,
            [gradients[place] for place in own],
            [trainable[place] for place in own],
        )
        trainable = list(trainable)
        for place, value in zip(own, after, strict=True):
            trainable[place] = value
        return trainable, optimizer_values

    def test_step(self, state: tuple, batch) -> tuple:
        """Scores a batch of (features, labels).

        Returns:
            The metrics, and the state after the step.
        """
        trainable, other, metric_values = state
        known = [*self.trainable_variables, *self.non_trainable_variables]
        mapping = zip(
            [*known, *self.metrics_variables],
            [*trainable, *other, *metric_values],
            strict=True,
        )
        with keras.StatelessScope(mapping) as scope:
            logs = self.update_validation_metrics(batch)
        return logs, (trainable, other, _values(scope, self.metrics_variables))

    @staticmethod
    def copies(variables: list[keras.Variable]) -> tuple[list, bool]:
        """Returns copies of variables' values, and whether all numbers are finite."""
        values, finite = _copies([variable.value for variable in variables])
        return values, bool(finite)


def _next(iterator: Iterator, count: int) -> list:
    return [next(iterator), *itertools.islice(iterator, count - 1)]


def _stacked(*arrays):
    return (np if isinstance(arrays[0], np.ndarray) else jnp).stack(arrays)


@jax.jit
def _copies(values: list) -> tuple[list, jax.Array]:
    # To fetch many small arrays from a GPU takes as long as many steps.
    finite = [jnp.isfinite(value).all() for value in values]
    return [jnp.copy(value) for value in values], jnp.stack(finite).all()


def _values(scope: keras.StatelessScope, variables: list) -> list:
    return [scope.get_current_value(variable) for variable in variables]
