"""What `compile` sets up: an optimizer for each of two networks, loss and metrics."""

from collections.abc import Callable
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf
from sklearn.metrics import roc_auc_score

from egan_keras import keras_hooks, losses
from egan_keras.keras_hooks import Tensor
from egan_keras.model import step

# How a model is run, which another backend may not be able to.
_EXECUTION = ("jit_compile", "steps_per_execution")
_SERIALISED = ("discriminator_optimizer", "generator_optimizer", "loss", "metrics")


class TwoOptimizers(keras.Model):
    """A Keras model that is compiled with an optimizer for each of its two networks.

    A subclass sets, in its constructor, `generator`, `discriminator` and `recipe`.

    Attributes:
        attachments: Functions from a model to options of `keras.Model.compile`, called
            whenever a model is compiled. What is rare is attached here from outside.
    """

    attachments: ClassVar[list[Callable[[keras.Model], dict[str, Any]]]] = []

    def compile(
        self,
        discriminator_optimizer: str | keras.optimizers.Optimizer = "recipe",
        generator_optimizer: str | keras.optimizers.Optimizer = "recipe",
        loss: str | losses.AdversarialLoss | None = None,
        metrics: list[str | keras.metrics.Metric] | None = None,
        **kwargs: Any,
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
        for name in ("loss_weights", "weighted_metrics"):
            if (given := kwargs.get(name)) is not None:
                raise ValueError(
                    f"compile does not take {name}: there is one adversarial loss, and "
                    f"images have no weights. Received: {name}={given!r}. Leave it out."
                )
        recipe = self.recipe
        rate = recipe.discriminator_learning_rate
        own = _optimizer("discriminator_optimizer", discriminator_optimizer, rate)
        rate = recipe.generator_learning_rate
        other = _optimizer("generator_optimizer", generator_optimizer, rate)
        for each in (own, other):
            keras_hooks.sum_over_several_replicas_alone(each)
        self.adversarial_loss = losses.get(loss or recipe.loss)
        self._validation = ValidationMetrics(metrics)
        options = {**self._execution_options(), **kwargs}
        for attach in self.attachments:
            options.update(attach(self))
        super().compile(own, **options)
        # As Keras does for the only optimizer it knows.
        scaled = keras.optimizers.LossScaleOptimizer
        if self.dtype_policy.name == "mixed_float16" and not isinstance(other, scaled):
            other = scaled(other) if kwargs.get("auto_scale_loss", True) else other
        self.generator_optimizer = other
        # Optimizers that are not built lose their state silently when a model is
        # loaded or resumed.
        self.optimizer.build(self.discriminator.tail.trainable_variables)
        self.generator_optimizer.build(self.generator.tail.trainable_variables)
        self._compile_options = kwargs

    def get_compile_config(self) -> dict[str, Any] | None:
        """Returns the arguments of `compile`, serialised; `None` before it."""
        if not self.compiled:
            return None
        return {
            "discriminator_optimizer": _serialized(self.optimizer),
            "generator_optimizer": _serialized(self.generator_optimizer),
            "loss": keras.saving.serialize_keras_object(self.adversarial_loss),
            "metrics": keras.saving.serialize_keras_object(self._validation.for_both),
            "backend": step.BACKEND,
            **self._compile_options,
        }

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles with what `get_compile_config` returned."""
        arguments = dict(config)
        if arguments.pop("backend", "tensorflow") != step.BACKEND:
            for name in _EXECUTION:
                arguments.pop(name, None)
        for name in _SERIALISED:
            arguments[name] = keras.saving.deserialize_keras_object(config[name])
        self.compile(**arguments)


class ValidationMetrics:
    """Metrics of scored images, left out rather than NaN where a class is missing."""

    def __init__(self, metrics: list[str | keras.metrics.Metric] | None = None) -> None:
        # What `fit` watches, as batches of features and labels.
        self.dataset: tf.data.Dataset | None = None
        self.for_both = [_as_metric(each) for each in keras.tree.flatten(metrics or [])]

    def prepared(self, x: Any) -> tf.data.Dataset | None:
        """Returns what `fit` watches, which is prepared already, if that is given."""
        return self.dataset if x is self.dataset else None

    def results(self, labels: np.ndarray, scores: np.ndarray) -> dict[str, float]:
        """Returns means of the scores and, at threshold 0, shares of right answers.

        With both classes also what `compile` was given and, of finite scores, the exact
        area under the ROC curve. Labels are (n,), scores (n, 1).
        """
        scores = scores.astype(np.promote_types(scores.dtype, "float32"))
        results = {}
        for name, right, label in (
            ("majority_score", "specificity", 0),
            ("minority_score", "sensitivity", 1),
        ):
            own = scores[labels == label].astype("float64")
            if len(own):
                results[name] = float(own.mean())
                results[right] = float(((own < 0) == label).mean())
        both = len(results) == 4
        targets = labels[:, None].astype(scores.dtype)
        # Above 0.5 where a score is negative, in the order of the scores. Unlike the
        # logistic function, it still separates scores of 20 and 30 in float32.
        likeliness = 0.5 - 0.5 * scores / (1 + np.abs(scores))
        for metric in self.for_both if both else ():
            metric.reset_state()
            metric.update_state(targets, likeliness)
            result = keras.tree.map_structure(_as_number, metric.result())
            results |= result if isinstance(result, dict) else {metric.name: result}
        # In the order in which Keras tells metrics, by name.
        results = dict(sorted(results.items()))
        if both and np.isfinite(scores).all():
            ranks = -scores[:, 0].astype("float64")
            results["auroc"] = float(roc_auc_score(labels, ranks))
        return results


@keras.saving.register_keras_serializable("egan_keras")
class OnePassAdam(keras.optimizers.Adam):
    """Keras's Adam, updating each variable by one operation of TensorFlow.

    Keras writes the update of Kingma and Ba (2014) as a dozen operations, each of which
    passes over all weights; with small batches that takes longer than the gradients.
    Results are the same within rounding. On other backends it is Keras's Adam.
    """

    def update_step(
        self, gradient: Tensor, variable: Tensor, learning_rate: Tensor
    ) -> None:
        """Updates a variable in place, given its gradient."""
        sparse = isinstance(gradient, tf.IndexedSlices)
        if self.amsgrad or sparse or step.BACKEND != "tensorflow":
            super().update_step(gradient, variable, learning_rate)
            return

        def as_number(value: Tensor) -> Tensor:
            return tf.cast(value, variable.dtype)

        first, second = keras_hooks.adam_moments(self, variable)
        beta_1, beta_2 = as_number(self.beta_1), as_number(self.beta_2)
        count = as_number(self.iterations + 1)
        tf.raw_ops.ResourceApplyAdam(
            var=_handle(variable),
            m=_handle(first),
            v=_handle(second),
            beta1_power=beta_1**count,
            beta2_power=beta_2**count,
            lr=as_number(learning_rate),
            beta1=beta_1,
            beta2=beta_2,
            epsilon=as_number(self.epsilon),
            grad=as_number(gradient),
        )


def _handle(variable: Tensor) -> Tensor:
    is_of_keras = isinstance(variable, keras.Variable)
    return (variable.value if is_of_keras else variable).handle


def _optimizer(
    name: str, optimizer: str | keras.optimizers.Optimizer, learning_rate: float
) -> keras.optimizers.Optimizer:
    if isinstance(optimizer, str) and optimizer == "recipe":
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


def _serialized(optimizer: keras.optimizers.Optimizer) -> dict[str, Any]:
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


def _as_metric(metric: str | keras.metrics.Metric) -> keras.metrics.Metric:
    # By that name Keras gives equality of labels and likelinesses, which never holds.
    if metric in ("accuracy", "acc"):
        return keras.metrics.BinaryAccuracy(name=metric)
    found = keras.metrics.get(metric)
    if isinstance(found, keras.metrics.Metric):
        return found
    name = getattr(found, "__name__", "metric")
    return keras.metrics.MeanMetricWrapper(found, name=name)


def _as_number(result: Tensor) -> float | np.ndarray:
    result = keras.ops.convert_to_numpy(result)
    return float(result) if result.size == 1 else result
