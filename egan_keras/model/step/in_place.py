"""The steps that Keras calls, on a backend that changes variables in place."""

import keras
import numpy as np


class InPlaceStep:
    """What the steps of TensorFlow and PyTorch have in common, see `protocol.Step`.

    A subclass has `adversarial_step`, from both networks' inputs to what `with_losses`
    returned.
    """

    def train_step(self, batch) -> dict:
        """Carries out one step on (majority, minority, known minority)."""
        outcome = self.adversarial_step(*self.step_inputs(self.step_rows(batch)))
        return self.update_training_metrics(outcome)

    def test_step(self, batch) -> dict:
        """Scores a batch of (features, labels)."""
        return self.update_validation_metrics(batch)

    @staticmethod
    def copies(variables: list[keras.Variable]) -> tuple[list, bool]:
        """Returns copies of variables' values, and whether all numbers are finite."""
        values = [keras.ops.convert_to_numpy(each) for each in variables]
        return values, all(np.isfinite(each).all() for each in values)
