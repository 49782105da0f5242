"""What happens when training diverges."""

import warnings

import keras
import numpy as np


class StopOnDivergence(keras.callbacks.Callback):
    """Stops training at the first epoch that is not finite, and goes back.

    The weights of the last epoch whose losses and weights were all finite are put
    back; `keras.callbacks.TerminateOnNaN` would leave the broken ones.
    """

    def on_train_begin(self, logs=None):
        """Keeps the weights that training starts from."""
        self._good_epoch = None
        self._good_weights = self._weights()

    def on_epoch_end(self, epoch, logs=None):
        """Keeps the epoch's weights, or stops and goes back to the last good ones."""
        weights = self._weights()
        values = [*(logs or {}).values(), *weights]
        if all(np.isfinite(value).all() for value in values):
            self._good_epoch, self._good_weights = epoch, weights
            return
        for variable, value in zip(
            self.model.trainable_variables, self._good_weights, strict=True
        ):
            variable.assign(value)
        self.model.stop_training = True
        kept = (
            "the weights that training started from"
            if self._good_epoch is None
            else f"the weights of epoch {self._good_epoch + 1}"
        )
        warnings.warn(
            f"Training diverged to NaN or infinity in epoch {epoch + 1} and was "
            f"stopped; the model keeps {kept}. Lower the learning rate "
            "(model.compile(discriminator_optimizer=..., generator_optimizer=...)) "
            "or look for corrupt images.",
            stacklevel=2,
        )

    def _weights(self) -> list[np.ndarray]:
        return [
            keras.ops.convert_to_numpy(variable)
            for variable in self.model.trainable_variables
        ]
