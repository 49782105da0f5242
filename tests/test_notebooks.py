import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

import egan_keras as ek

pytestmark = pytest.mark.whole

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
ON_PHOTOGRAPHS = "05_photographs"
# Its pictures are not ours to commit.
SHOWS_PHOTOGRAPHS = "shows-photographs"
MACHINE_PATH = re.compile(r"/(?:home|root|tmp|work|usr|Users)/|[A-Z]:\\\\")


def outputs(cells):
    return [o for c in cells for o in c.get("outputs", [])]


def figures(cells):
    data = [output.get("data", {}) for output in outputs(cells)]
    return [images for images in data if "image/png" in images]


def divided(notebook):
    """Returns the cells whose outputs are committed, and the others."""
    tagged = [SHOWS_PHOTOGRAPHS in c.metadata.get("tags", []) for c in notebook.cells]
    pairs = list(zip(notebook.cells, tagged, strict=True))
    return [
        [cell for cell, is_tagged in pairs if is_tagged == x] for x in (False, True)
    ]


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    return nbformat.read(request.param, as_version=4)


def test_there_are_notebooks():
    assert NOTEBOOKS


def skip_without_photographs():
    pytest.importorskip("elpv_dataset", reason="needs pip install elpv-dataset")
    try:
        ek.Backbone.parse("MobileNetV2:alpha=0.35").build(128)
    except OSError as error:
        pytest.skip(str(error))


@pytest.mark.slow
def test_notebook_runs(notebook, tmp_path, request):
    if ON_PHOTOGRAPHS in request.node.name:
        skip_without_photographs()
    committed = len(figures(notebook.cells))
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources=resources
    ).execute()
    ours, others = divided(notebook)
    assert len(figures(ours)) == committed > 0
    assert all(figures([cell]) for cell in others)


def test_photographs_of_others_are_not_committed(notebook):
    _, others = divided(notebook)
    assert not outputs(others)
    is_on_photographs = any("solar_cells" in cell.source for cell in notebook.cells)
    assert is_on_photographs == bool(others)


def test_notebook_is_committed_with_clean_outputs(notebook):
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    for output in outputs(notebook.cells):
        assert output.output_type != "error"
        assert output.get("name") != "stderr"
        text = output.get("text", "") + output.get("data", {}).get("text/plain", "")
        assert not MACHINE_PATH.search(text)
        assert "WARNING" not in text
