import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.whole

CASES = Path(__file__).parent / "benchmarks" / "speed_cases.py"


@pytest.mark.slow
def test_the_published_recipe_has_the_losses_of_the_published_loop():
    command = [sys.executable, str(CASES), "losses_agree", "MobileNetV2:alpha=0.35"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    difference = json.loads(done.stdout.splitlines()[-1])["difference"]
    if difference is None:
        pytest.skip("needs ImageNet weights of MobileNetV2 (alpha 0.35)")
    assert difference < 1e-4
