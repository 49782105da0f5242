"""What `compile` does where each of two networks has an optimizer of its own."""

from collections.abc import Callable
from typing import ClassVar

import keras

from egan_keras import losses
from egan_keras.model.one_pass_adam import OnePassAdam
from egan_keras.model.step import BACKEND, Step
from egan_keras.model.validation import ValidationMetrics

RECIPE_ADAM = "recipe"

# How a model is run, which another backend may not be able to.
_EXECUTION = ("jit_compile", "steps_per_execution")


class TwoOptimizers(keras.Model):
    """A Keras model that is compiled with an optimizer for each of its two networks.

    A subclass sets, in its constructor, `generator`, `discriminator` and `recipe`.

    Args:
        **kwargs: Arguments of `keras.Model`.

    Attributes:
        attachments: Functions from a model to options of `keras.Model.compile`, called
            whenever a model is compiled. What is rare is attached here from outside.
    """

    attachments: ClassVar[list[Callable[[keras.Model], dict]]] = []

    def compile(
        self,
        discriminator_optimizer=RECIPE_ADAM,
        generator_optimizer=RECIPE_ADAM,
        loss: str | losses.AdversarialLoss | None = None,
        metrics: list | None = None,
        **kwargs,
    ) -> None:
        """Configures training, as `keras.Model.compile` does.

        Args:
            discriminator_optimizer: Keras optimizer or its name; `"recipe"` is Adam
                at the recipe's learning rate.
            generator_optimizer: The same for the generator.
            loss: An adversarial loss or its name, see `losses.get`; `None` takes the
                recipe's.
            metrics: Keras metrics of validation data, which are given labels (n, 1)
                and likelinesses of minority (n, 1), 0..1, above 0.5 where the score
                is negative, beside the exact area under the ROC curve.
            **kwargs: Further arguments of `keras.Model.compile`. Where they do not say
                otherwise, `steps_per_execution` is 8 (1 on PyTorch), so that callbacks
                hear of every eighth batch, and `jit_compile` is off but on JAX: XLA
                makes both recipes slower on CPUs. Under the policy `mixed_float16`
                both optimizers scale their losses, unless `auto_scale_loss=False`.

        Raises:
            ValueError: If the loss is unknown, one optimizer is given for both or none
                for one, an argument of Keras's has no meaning here, or the model is on
                devices that do not train it.
        """
        if "optimizer" in kwargs or (
            isinstance(discriminator_optimizer, keras.optimizers.Optimizer)
            and discriminator_optimizer is generator_optimizer
        ):
            raise ValueError(
                "Each network has an optimizer of its own; expected "
                "discriminator_optimizer and generator_optimizer, two objects or "
                f"names. Received: optimizer={kwargs.get('optimizer')!r}, "
                f"discriminator_optimizer={discriminator_optimizer!r}."
            )
        _check_meaning(kwargs)
        recipe = self.recipe
        own_optimizer = _optimizer(
            "discriminator_optimizer",
            discriminator_optimizer,
            recipe.discriminator_learning_rate,
        )
        generators_optimizer = _optimizer(
            "generator_optimizer",
            generator_optimizer,
            recipe.generator_learning_rate,
        )
        self.adversarial_loss = losses.get(loss or recipe.loss)
        self._validation = ValidationMetrics(metrics)
        options = {**Step.execution_options(), **kwargs}
        for attach in self.attachments:
            options.update(attach(self))
        super().compile(own_optimizer, **options)
        self.generator_optimizer = self._scaled(
            generators_optimizer, kwargs.get("auto_scale_loss", True)
        )
        # Optimizers that are not built lose their state silently when a model is
        # loaded or resumed.
        self.optimizer.build(self.discriminator.tail.trainable_variables)
        self.generator_optimizer.build(self.generator.tail.trainable_variables)
        self._compile_options = kwargs

    def _scaled(self, optimizer, automatic: bool) -> keras.optimizers.Optimizer:
        """Does for the second optimizer what Keras does for the only one it knows."""
        scaled = keras.optimizers.LossScaleOptimizer
        if not automatic or self.dtype_policy.name != "mixed_float16":
            return optimizer
        return optimizer if isinstance(optimizer, scaled) else scaled(optimizer)

    def get_compile_config(self) -> dict | None:
        """Returns the arguments of `compile`, serialised; `None` before it."""
        if not self.compiled:
            return None
        return {
            "discriminator_optimizer": _serialized(self.optimizer),
            "generator_optimizer": _serialized(self.generator_optimizer),
            "loss": keras.saving.serialize_keras_object(self.adversarial_loss),
            "metrics": keras.saving.serialize_keras_object(self._validation.for_both),
            "backend": BACKEND,
            **self._compile_options,
        }

    def compile_from_config(self, config: dict) -> None:
        """Compiles with what `get_compile_config` returned."""
        serialised = ("discriminator_optimizer", "generator_optimizer", "loss")
        arguments = dict(config)
        if arguments.pop("backend", "tensorflow") != BACKEND:
            for name in _EXECUTION:
                arguments.pop(name, None)
        for name in (*serialised, "metrics"):
            arguments[name] = keras.saving.deserialize_keras_object(config[name])
        self.compile(**arguments)


def _check_meaning(options: dict) -> None:
    for name in ("loss_weights", "weighted_metrics"):
        if options.get(name) is not None:
            raise ValueError(
                f"compile does not take {name}: there is one adversarial loss, and "
                f"images have no weights. Received: {name}={options[name]!r}. Leave it "
                "out."
            )


def _optimizer(
    name: str, optimizer, learning_rate: float
) -> keras.optimizers.Optimizer:
    if isinstance(optimizer, str) and optimizer == RECIPE_ADAM:
        return OnePassAdam(learning_rate)
    try:
        return keras.optimizers.get(optimizer)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"`{name}` is no optimizer; expected one of Keras's, its name, or "
            f"'recipe'. Received: {name}={optimizer!r}. Each network has one of its "
            "own: compile(discriminator_optimizer=..., generator_optimizer=..., "
            "loss=..., metrics=[...])."
        ) from error


def _serialized(optimizer: keras.optimizers.Optimizer) -> dict:
    """Returns an optimizer's configuration, which other backends can load.

    On PyTorch, Keras writes down a class of that backend's own instead, and loads it by
    importing PyTorch.
    """
    config = keras.optimizers.serialize(optimizer)
    inner = config["config"].get("inner_optimizer")
    for each in filter(None, (config, inner)):
        if each["module"].startswith("keras."):
            each.update(module="keras.optimizers", registered_name=None)
    return config
