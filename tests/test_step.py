"""The step of the backend in use, and the model that it trains, keep their protocol."""

import pytest

from egan_keras.model.step import Step, protocol

pytestmark = pytest.mark.whole


def test_the_backend_offers_what_a_step_must_have():
    assert issubclass(Step, protocol.Step)


def test_the_model_has_what_a_step_reads(build_tiny):
    members = set(protocol.Trainee.__annotations__) | {
        name for name in vars(protocol.Trainee) if not name.startswith("_")
    }
    assert len(members) > 10 and members <= set(dir(build_tiny()))
