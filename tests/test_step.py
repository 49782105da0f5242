"""The step of the backend in use, and the model that it trains, keep their protocol."""

import pytest

from egan_keras.model import step

pytestmark = pytest.mark.whole

WRITTEN = "_execution_options _adversarial_step _random_shares _score_gradients".split()
READ = (
    "generator discriminator optimizer generator_optimizer adversarial_loss recipe "
    "fake_weight step_rows step_inputs update_training_metrics"
).split()


def test_the_backend_writes_what_a_step_must_have():
    own = vars(step.of_backend())
    assert issubclass(step.of_backend(), step.Step) and {*WRITTEN} <= {*own}


def test_the_model_has_what_a_step_reads(build_tiny):
    model = build_tiny()
    assert isinstance(model, step.of_backend()) and {*READ} <= {*dir(model)}
