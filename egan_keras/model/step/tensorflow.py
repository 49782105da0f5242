"""How TensorFlow takes and applies the gradients of one adversarial step."""

from collections.abc import Callable

import tensorflow as tf

from egan_keras.model import step


class Step(step.Step):
    """The step of TensorFlow."""

    @staticmethod
    def _execution_options() -> dict:
        # A step on cached features takes little longer than Keras takes to start one.
        # XLA makes both recipes slower on CPUs.
        return {"jit_compile": False, "steps_per_execution": 8}

    def _adversarial_step(self, majority, minority, known_minority) -> dict:
        return update_both(
            self, lambda: step.forward(self, majority, minority, known_minority)
        )

    def _random_shares(self, rows) -> tf.Tensor:
        return tf.random.uniform((tf.shape(rows)[0],), dtype=rows.dtype)

    def _score_gradients(self, scores_of, points: list) -> list:
        with tf.GradientTape() as tape:
            tape.watch(points)
            scores = scores_of(points)
        return tape.gradient(scores, points)


def update_both(model: Step, forward: Callable[[], dict]) -> dict:
    """Updates both networks after a forward pass, and returns what `both_losses` does.

    Args:
        model: What is trained.
        forward: Returns what `step.forward` does.
    """
    with tf.GradientTape(persistent=True) as tape:
        outcome = step.both_losses(model, forward())
        updates = step.updates(model, outcome)
    for optimizer, tail, loss in updates:
        variables = tail.trainable_variables
        gradients = tape.gradient(loss, variables)
        optimizer.apply_gradients(zip(gradients, variables, strict=True))
    return outcome
