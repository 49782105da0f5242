"""The steps that Keras calls, on the backend that it runs on."""

import keras
import numpy as np

BACKEND = keras.backend.backend()

# A step on cached features takes little longer than Keras takes to start one, so that
# several are started at once where the backend can. XLA makes both recipes slower on
# CPUs, but JAX has nothing else to compile with.
_EXECUTION = {
    "tensorflow": {"jit_compile": False, "steps_per_execution": 8},
    "jax": {"jit_compile": True, "steps_per_execution": 8},
    "torch": {"jit_compile": False, "steps_per_execution": 1},
}

if BACKEND not in _EXECUTION:
    raise ImportError(
        "egan_keras trains on TensorFlow, JAX or PyTorch; expected KERAS_BACKEND "
        f"tensorflow, jax or torch. Received: {BACKEND!r}. Set the environment "
        "variable KERAS_BACKEND, or leave it out."
    )

if BACKEND == "jax":
    from egan_keras.model import jax_step
    from egan_keras.model.jax_step import StatelessSteps as Steps
elif BACKEND == "torch":
    from egan_keras.model.torch_step import adversarial_step

    class Steps:
        """The steps of a backend that changes variables in place."""

        def train_step(self, batch) -> dict:
            """Carries out one step on (majority, minority, known minority)."""
            outcome = adversarial_step(self, *self.step_inputs(batch))
            return self.update_training_metrics(outcome)

        def test_step(self, batch) -> dict:
            """Scores a batch of (features, labels)."""
            return self.update_validation_metrics(batch)

else:
    from egan_keras.model import distribution, replicas
    from egan_keras.model.tensorflow_step import adversarial_step

    class Steps(distribution.OfSeveralReplicas):
        """The steps of a backend that changes variables in place, on all replicas."""

        def train_step(self, batch) -> dict:
            """Carries out one step on (majority, minority, known minority)."""
            batch, part = replicas.taken(batch)
            outcome = adversarial_step(self, *self.step_inputs(batch), part)
            return self.update_training_metrics(outcome)

        def test_step(self, batch) -> dict:
            """Scores a batch of (features, labels)."""
            return self.update_validation_metrics(batch)


def execution_options() -> dict:
    """Returns how `keras.Model.compile` is told to run the steps, where not told."""
    return dict(_EXECUTION[BACKEND])


def copies(variables: list[keras.Variable]) -> tuple[list, bool]:
    """Returns copies of variables' values, and whether all numbers are finite."""
    if BACKEND == "jax":
        # To fetch many small arrays from a GPU takes as long as many steps.
        values, finite = jax_step.copies([each.value for each in variables])
        return values, bool(finite)
    values = [keras.ops.convert_to_numpy(each) for each in variables]
    return values, all(np.isfinite(each).all() for each in values)
