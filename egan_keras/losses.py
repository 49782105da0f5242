"""Adversarial losses, and what real and fake mean in them.

There is one polarity in the whole package: a majority image is *real* and is pushed
to a high score, a generated minority image is *fake* and is pushed to a low score.
The labels of data sets are the other way round (0 majority, 1 minority), because
the minority is the positive class of every metric.
"""

from typing import Any

import keras
from keras import ops

from egan_keras.keras_hooks import Tensor

PACKAGE = "egan_keras"


class AdversarialLoss:
    """What the discriminator and the generator minimise, from scores alone.

    A loss of one's own gives `high`, and where both classes are not treated alike or
    the generator does not want just that of its fakes, `low` and `generator`.

    Args:
        gradient_penalty: Weight of the penalty on the discriminator's gradient
            between majority and fakes, 0 for none. Non-negative float.

    Raises:
        ValueError: If `gradient_penalty` is negative.
    """

    def __init__(self, gradient_penalty: float = 0.0) -> None:
        if gradient_penalty < 0:
            raise ValueError(
                "The gradient penalty's weight must not be negative. "
                f"Received: gradient_penalty={gradient_penalty}. Use 0 for none."
            )
        self.gradient_penalty = float(gradient_penalty)

    def high(self, scores: Tensor) -> Tensor:
        """Returns what scores (n, 1) cost that should be high, a scalar."""
        raise NotImplementedError

    def low(self, scores: Tensor) -> Tensor:
        """Returns what scores (n, 1) cost that should be low, a scalar."""
        return self.high(-scores)

    def generator(self, fake_scores: Tensor) -> Tensor:
        """Returns the generator's loss, a scalar, from the scores (m, 1) of fakes."""
        return self.high(fake_scores)

    def discriminator(
        self,
        majority_scores: Tensor,
        fake_scores: Tensor,
        minority_scores: Tensor | None = None,
        fake_weight: float = 1.0,
    ) -> Tensor:
        """Returns the discriminator's loss, a scalar.

        Args:
            majority_scores: float tensor (n, 1), scores of majority images.
            fake_scores: float tensor (m, 1), scores of generated minority images.
            minority_scores: float tensor (k, 1), scores of real minority images,
                where they take part; they weigh what the fakes leave.
            fake_weight: Weight of the fakes, 0..1.
        """
        loss = self.high(majority_scores) + fake_weight * self.low(fake_scores)
        if minority_scores is not None:
            loss += (1.0 - fake_weight) * self.low(minority_scores)
        return loss

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return {"gradient_penalty": self.gradient_penalty}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "AdversarialLoss":
        """Returns the loss that `get_config` described."""
        return cls(**config)


@keras.saving.register_keras_serializable(PACKAGE)
class NonSaturating(AdversarialLoss):
    """Binary cross-entropy of both classes, the generator's with fakes as majority.

    The paper's loss: Goodfellow et al., Generative Adversarial Nets, 2014, section 3.
    """

    def high(self, scores: Tensor) -> Tensor:
        """Returns BCE(scores, 1)."""
        return ops.mean(ops.softplus(-scores))


@keras.saving.register_keras_serializable(PACKAGE)
class LeastSquares(AdversarialLoss):
    """Squared distance of the scores from +1 (majority) and -1 (fakes).

    Mao et al., Least Squares Generative Adversarial Networks, 2017, equation 8
    (a = -1, b = 1, c = 0), so that 0 lies halfway between the classes.
    """

    def high(self, scores: Tensor) -> Tensor:
        """Returns the mean square of (scores - 1)."""
        return ops.mean(ops.square(scores - 1.0))

    def generator(self, fake_scores: Tensor) -> Tensor:
        """Returns the mean square of the fakes' scores."""
        return ops.mean(ops.square(fake_scores))


@keras.saving.register_keras_serializable(PACKAGE)
class Hinge(AdversarialLoss):
    """Scores beyond the margins +1 and -1 cost nothing.

    Lim and Ye, Geometric GAN, 2017; Miyato et al., Spectral Normalization for
    Generative Adversarial Networks, 2018, equations 16 and 17.
    """

    def high(self, scores: Tensor) -> Tensor:
        """Returns mean(relu(1 - scores))."""
        return ops.mean(ops.relu(1.0 - scores))

    def generator(self, fake_scores: Tensor) -> Tensor:
        """Returns minus the mean of the fakes' scores."""
        return -ops.mean(fake_scores)


@keras.saving.register_keras_serializable(PACKAGE)
class Wasserstein(AdversarialLoss):
    """Difference of the mean scores, with a penalty on the gradient, 10 in the source.

    Gulrajani et al., Improved Training of Wasserstein GANs, 2017, equation 3.
    """

    def __init__(self, gradient_penalty: float = 10.0) -> None:
        super().__init__(gradient_penalty)

    def high(self, scores: Tensor) -> Tensor:
        """Returns minus the mean of the scores."""
        return -ops.mean(scores)


BY_NAME = {
    "non_saturating": NonSaturating,
    "least_squares": LeastSquares,
    "hinge": Hinge,
    "wasserstein": Wasserstein,
}


def get(loss: "str | AdversarialLoss") -> AdversarialLoss:
    """Returns an adversarial loss by its name in `BY_NAME`, or the one given.

    >>> get("hinge").get_config()
    {'gradient_penalty': 0.0}
    """
    if isinstance(loss, AdversarialLoss):
        return loss
    if isinstance(loss, str) and loss in BY_NAME:
        return BY_NAME[loss]()
    raise ValueError(
        f"Unknown adversarial loss; expected one of {', '.join(BY_NAME)} or an "
        f"AdversarialLoss. Received: loss={loss!r}. Cross-entropies and other "
        "losses of classifiers do not apply: the step compares majority with fakes."
    )


def gradient_norm_penalty(gradients: list[Tensor]) -> Tensor:
    """Returns the mean of (|gradient| - 1) squared (Gulrajani et al., equation 3).

    The norm is taken over all tensors (n, ...), one for each input, of one example
    together.
    """
    squares = sum(
        ops.sum(ops.square(ops.reshape(gradient, (ops.shape(gradient)[0], -1))), axis=1)
        for gradient in gradients
    )
    return ops.mean(ops.square(ops.sqrt(squares + 1e-12) - 1.0))
