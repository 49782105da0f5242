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
        """Forgets an earlier training."""
        self._good_epoch = self._good_values = None

    def on_epoch_begin(self, epoch, logs=None):
        """Keeps what training starts from, once a backup has been restored."""
        if self._good_values is None:
            self._good_values, _ = self.model.copies(self._variables())

    def on_epoch_end(self, epoch, logs=None):
        """Keeps the epoch's weights, or stops and goes back to the last good ones."""
        values, finite = self.model.copies(self._variables())
        if finite and all(np.isfinite(v).all() for v in (logs or {}).values()):
            self._good_epoch, self._good_values = epoch, values
            return
        for variable, value in zip(self._variables(), self._good_values, strict=True):
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

    def _variables(self) -> list:
        """Returns all that training changes, of both networks and optimizers."""
        model = self.model
        owners = (model.discriminator.tail, model.generator.tail)
        optimizers = (model.optimizer, model.generator_optimizer)
        return [v for owner in (*owners, *optimizers) for v in owner.variables]
