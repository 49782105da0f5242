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

from egan_keras import keras_hooks
from egan_keras.model import step


class Step(step.Step):
    """The step of JAX, from state to state."""

    def __init__(self, **kwargs) -> None:
        super().__init__(**kwargs)
        self._penalty_seeds = keras.random.SeedGenerator()

    @staticmethod
    def _execution_options() -> dict:
        return {"jit_compile": True, "steps_per_execution": 8}

    @property
    def non_trainable_variables(self) -> list:
        """The state that no gradient changes, and what Keras's state has no room for.

        That is the second optimizer, and the tables that training reads: what is not in
        the state would be compiled into the step.
        """
        variables = list(super().non_trainable_variables)
        for owner in ("_tables", "generator_optimizer"):
            if found := getattr(self, owner, None):
                variables += found.variables
        return variables

    def make_train_function(self, force: bool = False) -> None:
        """Compiles, on accelerators, the steps of an execution as one.

        Keras starts each by itself, which on a GPU takes several times as long as the
        step. So start those at an epoch's end that are too few or differ in shape. On
        processors XLA's loops take half as long again where they hold convolutions.

        A later Keras scans the steps of an execution by itself and its iterator yields
        their batches joined: then this method goes, and `_steps_in_turn` with it.
        """
        if self.train_function is not None and not force:
            return
        super().make_train_function(force)
        if (
            self.steps_per_execution == 1
            or not keras_hooks.has_accelerator()
            or not self.jit_compile
            or self.run_eagerly
        ):
            return
        compiled = jax.jit(self._steps_in_turn, donate_argnums=0)
        one_by_one, count = self.train_function, self.steps_per_execution
        numbers = self._row_numbers

        def execute(state: tuple, iterator: Iterator) -> tuple:
            # Keras would send each batch of numbers to the device by itself.
            if numbers is not None:
                batches = numbers.take(count)
            else:
                batches = [next(iterator), *itertools.islice(iterator, count - 1)]
            shapes = {tuple(x.shape for x in jax.tree.leaves(b)) for b in batches}
            if len(batches) == count and len(shapes) == 1:
                return compiled(state, jax.tree.map(_stacked, *batches))
            return one_by_one(state, iter(batches))

        self.train_function = execute

    def _steps_in_turn(self, state: tuple, batches) -> tuple:
        """Returns the metrics after the last of several steps, and the state."""

        def one_step(state, batch):
            return self.train_step(state, batch)[::-1]

        state, logs = jax.lax.scan(one_step, state, batches)
        return jax.tree.map(lambda values: values[-1], logs), state

    def train_step(self, state: tuple, batch) -> tuple:
        """Carries out one step; returns the metrics, and the state after it."""
        trainable, other, optimizer_values, metric_values = state
        known = [*self.trainable_variables, *self.non_trainable_variables]
        known += self.optimizer.variables

        def both_losses(trainable):
            mapping = zip(known, [*trainable, *other, *optimizer_values], strict=True)
            with keras.StatelessScope(mapping, collect_losses=True) as scope:
                inputs = self.step_inputs(self.step_rows(batch))
                outcome = step.both_losses(self, step.forward(self, *inputs))
                scaled = [loss for *_, loss in step.updates(self, outcome)]
            return scaled, (outcome, _values(scope, self.non_trainable_variables))

        scaled, pull_back, (outcome, other) = jax.vjp(
            both_losses, trainable, has_aux=True
        )
        one, zero = jnp.ones_like(scaled[0]), jnp.zeros_like(scaled[0])
        # The second optimizer's state comes last, see `non_trainable_variables`.
        count = len(other) - len(self.generator_optimizer.variables)
        both = [
            (self.optimizer, self.discriminator.tail, optimizer_values, [one, zero]),
            (self.generator_optimizer, self.generator.tail, other[count:], [zero, one]),
        ]
        after = []
        for optimizer, tail, values, seeds in both:
            trainable, values = self._applied(
                optimizer, values, pull_back(seeds)[0], trainable, tail
            )
            after.append(values)
        mapping = zip(self.metrics_variables, metric_values, strict=True)
        with keras.StatelessScope(mapping) as scope:
            logs = self.update_training_metrics(outcome)
        metric_values = _values(scope, self.metrics_variables)
        other = [*other[:count], *after[1]]
        return logs, (trainable, other, after[0], metric_values)

    def _random_shares(self, rows) -> jax.Array:
        seeds = self._penalty_seeds
        return keras.random.uniform((len(rows),), dtype=rows.dtype, seed=seeds)

    def _score_gradients(self, scores_of, points: list) -> list:
        return jax.grad(lambda points: jnp.sum(scores_of(points)))(points)

    @staticmethod
    def copies(variables: list[keras.Variable]) -> tuple[list, bool]:
        """Returns copies of variables' values, and whether all numbers are finite."""
        values, finite = _copies([variable.value for variable in variables])
        return values, bool(finite)

    def _applied(self, optimizer, values, gradients, trainable, tail) -> tuple:
        """Returns all trained values after one optimizer's step, and its own."""
        places = {id(v): i for i, v in enumerate(self.trainable_variables)}
        own = [places[id(variable)] for variable in tail.trainable_variables]
        after, values = optimizer.stateless_apply(
            values,
            [gradients[place] for place in own],
            [trainable[place] for place in own],
        )
        trainable = list(trainable)
        for place, value in zip(own, after, strict=True):
            trainable[place] = value
        return trainable, values


def _stacked(*arrays):
    return (np if isinstance(arrays[0], np.ndarray) else jnp).stack(arrays)


@jax.jit
def _copies(values: list) -> tuple[list, jax.Array]:
    # To fetch many small arrays from a GPU takes as long as many steps.
    finite = [jnp.isfinite(value).all() for value in values]
    return [jnp.copy(value) for value in values], jnp.stack(finite).all()


def _values(scope: keras.StatelessScope, variables: list) -> list:
    return [scope.get_current_value(variable) for variable in variables]
