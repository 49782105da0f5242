"""Adam by TensorFlow's kernel, which passes over the weights once."""

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("egan_keras")
class OnePassAdam(keras.optimizers.Adam):
    """Keras's Adam, updating each variable by one operation where there is one.

    Keras writes the update of Kingma and Ba (2014) as a dozen operations, each of which
    passes over all weights; with small batches that takes longer than the gradients.
    Results are the same within rounding.
    """

    def update_step(self, gradient, variable, learning_rate) -> None:
        """Updates a variable in place, given its gradient."""
        of_tensorflow = keras.backend.backend() == "tensorflow"
        if self.amsgrad or not of_tensorflow or isinstance(gradient, tf.IndexedSlices):
            super().update_step(gradient, variable, learning_rate)
            return
        index = self._get_variable_index(variable)

        def as_number(value):
            return tf.cast(value, variable.dtype)

        beta_1, beta_2 = as_number(self.beta_1), as_number(self.beta_2)
        step = as_number(self.iterations + 1)
        tf.raw_ops.ResourceApplyAdam(
            var=_handle(variable),
            m=_handle(self._momentums[index]),
            v=_handle(self._velocities[index]),
            beta1_power=beta_1**step,
            beta2_power=beta_2**step,
            lr=as_number(learning_rate),
            beta1=beta_1,
            beta2=beta_2,
            epsilon=as_number(self.epsilon),
            grad=as_number(gradient),
        )


def _handle(variable):
    if isinstance(variable, keras.Variable):
        variable = variable.value
    return variable.handle
