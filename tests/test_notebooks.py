import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

pytestmark = pytest.mark.whole

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
TAKE_MINUTES = {"01_quickstart", "02_backbone_search"}
MACHINE_PATH = re.compile(r"/(?:home|root|tmp|work|usr|Users)/|[A-Z]:\\\\")


def outputs(notebook):
    return [o for c in notebook.cells for o in c.get("outputs", [])]


def figures(notebook):
    data = [output.get("data", {}) for output in outputs(notebook)]
    return [images for images in data if "image/png" in images]


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    return nbformat.read(request.param, as_version=4)


def test_there_are_notebooks():
    assert NOTEBOOKS


@pytest.mark.parametrize(
    "notebook",
    [
        pytest.param(path, marks=[pytest.mark.slow] * (path.stem in TAKE_MINUTES))
        for path in NOTEBOOKS
    ],
    ids=lambda path: path.stem,
    indirect=True,
)
def test_notebook_runs(notebook, tmp_path):
    committed = len(figures(notebook))
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources=resources
    ).execute()
    assert len(figures(notebook)) == committed > 0


def test_notebook_is_committed_with_clean_outputs(notebook):
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    for output in outputs(notebook):
        assert output.output_type != "error"
        assert output.get("name") != "stderr"
        text = output.get("text", "") + output.get("data", {}).get("text/plain", "")
        assert not MACHINE_PATH.search(text)
        assert "WARNING" not in text
