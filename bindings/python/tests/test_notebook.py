"""The notebook of the examples, run from top to bottom as Jupyter does it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
for needed in ("ipykernel", "matplotlib", "pandas"):
    pytest.importorskip(needed)

NOTEBOOK = Path(__file__).resolve().parents[3] / "examples/python/notebook.ipynb"


class Client(nbclient.NotebookClient):
    """Counts the updates of each cell's displays, of which the notebook keeps only the last."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.updates = Counter()

    def process_message(self, message, cell, index):
        if message["msg_type"] == "update_display_data":
            self.updates[cell["id"]] += 1
        return super().process_message(message, cell, index)


@pytest.fixture(scope="module")
def cells():
    """The cells by their ids, and how often each updated a display."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = Client(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": NOTEBOOK.parent}})
    client.execute()
    return {cell["id"]: cell for cell in notebook.cells}, client.updates


def data(cell, kind):
    return [output["data"][kind] for output in cell["outputs"] if kind in output.get("data", {})]


def test_the_file_is_clean():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell["cell_type"] == "code"]
    assert all(not cell["outputs"] and cell["execution_count"] is None and not cell["metadata"] for cell in code)


def test_no_cell_fails(cells):
    assert all(output["output_type"] != "error" for cell in cells[0].values() for output in cell.get("outputs", []))


def test_texts_and_the_chat_grow_before_the_eye(cells):
    cells, updates = cells
    [page] = data(cells["stream"], "text/html")
    assert page.count("<b>") == 4 and len(page) > 1000
    assert updates["stream"] > 4
    answers = data(cells["chat"], "text/markdown")
    assert len(answers) == 3 and all("**Model:** " in answer for answer in answers)
    assert updates["chat"] > 3


def test_the_batch_becomes_a_table(cells):
    cells, updates = cells
    bar, table = data(cells["batch"], "text/html")
    assert "48 of 48" in bar and updates["batch"] > 1
    assert "<table" in table and "n_output_tokens" in table
    assert data(cells["summary"], "text/html")


def test_the_plots_are_there(cells):
    for name in ("plot", "gaps"):
        [image] = data(cells[0][name], "image/png")
        assert len(image) > 10_000
    [table] = data(cells[0]["measure"], "text/html")
    assert "first token" in table
