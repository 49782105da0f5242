"""Methods of Keras that would do something else here than they say."""

import keras


class KerasDoors(keras.Model):
    """What users of Keras try on a model, and what it does or what to do instead.

    A subclass sets `discriminator` in its constructor.

    Args:
        **kwargs: Arguments of `keras.Model`.
    """

    def save(self, filepath, *args, **kwargs) -> None:
        """Saves as `keras.Model.save`, in Keras's own format alone.

        Raises:
            ValueError: If the file is of another format.
        """
        if str(filepath).endswith((".h5", ".hdf5", ".he5")):
            refuse_hdf5(filepath)
        super().save(filepath, *args, **kwargs)

    def export(self, filepath, *args, **kwargs) -> None:
        """Exports the scores as `keras.Model.export`, without the threshold.

        `ek.export_saved_model` and `ek.export_tflite` export both, and compare the
        scores with the model's.
        """
        # Keras asks a model of two networks to have been called, in vain.
        self.discriminator.export(filepath, *args, **kwargs)

    def quantize(self, *args, **kwargs) -> None:
        """Refuses what would leave the discriminator as it is.

        Raises:
            ValueError: In any case.
        """
        raise ValueError(
            "An EGAN is made smaller when it is exported; expected ek.export_tflite("
            'model, path, quantize="int8", representative=...). Received: quantize(), '
            "which knows few of its layers."
        )

    def train_on_batch(self, *args, **kwargs) -> None:
        """Refuses to train on a batch alone: a step needs features of both classes.

        Raises:
            ValueError: In any case.
        """
        raise ValueError(
            "An EGAN is trained by fit, which splits the classes and computes frozen "
            "features first; expected model.fit(images, labels, epochs=1). Received: "
            "train_on_batch()."
        )

    def test_on_batch(self, *args, **kwargs) -> None:
        """Refuses to test on a batch alone.

        Raises:
            ValueError: In any case.
        """
        raise ValueError(
            "An EGAN is tested by evaluate; expected model.evaluate(images, labels). "
            "Received: test_on_batch()."
        )


def check_not_hdf5(discriminator: dict) -> None:
    """Refuses to be saved as HDF5 by `keras.saving.save_model`.

    Args:
        discriminator: Its configuration, which Keras writes in an older form there.

    Raises:
        ValueError: If it is in that form.
    """
    layers = discriminator["config"]["stem"]["config"]["layers"]
    if "registered_name" not in layers[0]:
        refuse_hdf5("the file to save")


def refuse_hdf5(filepath) -> None:
    """Says that a model is not saved as HDF5, which Keras itself could not load.

    Raises:
        ValueError: In any case.
    """
    raise ValueError(
        "HDF5 files keep an EGAN's weights, but not the model; expected a file that "
        f"ends in .keras. Received: {str(filepath)!r}. Use model.save('model.keras'), "
        "or model.save_weights('model.weights.h5') for the weights alone."
    )
