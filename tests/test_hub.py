"""Keras's own way to a model hub and back, with a folder in place of the hub."""

import shutil

import keras
import numpy as np
import pytest
from tiny_export import HEIGHT, THRESHOLD, WIDTH, tiny_model

WHY = "needs the extra `hub`: pip install 'egan-keras[hub]'"
huggingface_hub = pytest.importorskip("huggingface_hub", reason=WHY)


class Address(str):
    """What the client calls a repository by."""

    repo_id = "me/model"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A folder that the client pushes to and fetches from."""

    def create(api, name, **options):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
        return Address(f"folder of {name}")

    def upload(api, *, repo_id, folder_path, **options):
        shutil.copytree(folder_path, tmp_path / repo_id, dirs_exist_ok=True)

    def download(repo_id, **options):
        return str(tmp_path / repo_id)

    monkeypatch.setattr(huggingface_hub.HfApi, "create_repo", create)
    monkeypatch.setattr(huggingface_hub.HfApi, "upload_folder", upload)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    return tmp_path / "me" / "model"


def test_a_model_comes_back_with_its_scores_and_its_threshold(hub):
    model = tiny_model()
    images = np.random.default_rng(0).integers(0, 256, (9, HEIGHT, WIDTH, 3), "uint8")
    model.save("hf://me/model")
    again = keras.saving.load_model("hf://me/model")
    assert again.threshold == THRESHOLD
    assert again.calibration == model.calibration
    np.testing.assert_array_equal(
        again.predict(images, verbose=0), model.predict(images, verbose=0)
    )


def test_code_that_a_model_brings_is_refused(hub):
    layer = keras.layers.Lambda(lambda x: x + 1)
    keras.Sequential([keras.Input((2,)), layer]).save("hf://me/model")
    with pytest.raises(ValueError, match="lambda"):
        keras.saving.load_model("hf://me/model")
