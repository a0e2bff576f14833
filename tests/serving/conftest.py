from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from mentor_pyg.data import ITEM, USER, num_items, num_users
from mentor_pyg.datasets import SyntheticMultimodal
from mentor_pyg.export import write_export
from mentor_pyg.models import MENTOR, LightGCN

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

EVIL = "<img src=x onerror=\"document.title='broken'\"><script>alert(1)</script>"


@pytest.fixture(scope="session")
def exports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Exports of two models of the same data, by model name."""
    data = SyntheticMultimodal(size="tiny", seed=0)[0]
    data[USER].raw_id = [f"user/{n}" for n in range(num_users(data))]
    data[ITEM].raw_id = [f"i{n}" for n in range(num_items(data))]
    titles: dict[str, Any] = {f"i{n}": f"Red shoe {n}" for n in range(num_items(data) - 1)}
    titles |= {"i3": EVIL, "i4": "endless" * 30}
    items = pd.DataFrame({"title": titles})
    items["link"] = "https://example.org/" + items.index
    place = tmp_path_factory.mktemp("exports")
    for model in (MENTOR, LightGCN):
        write_export(model.from_data(data), data, place / model.name, items=items)
    return {model.name: place / model.name for model in (MENTOR, LightGCN)}


@pytest.fixture
def client(exports: dict[str, Path]) -> Iterator[TestClient]:
    """A client of the service of MENTOR, without a token."""
    from fastapi.testclient import TestClient

    from mentor_pyg.serving.app import CurrentExport, create_app

    app = create_app(CurrentExport(exports["mentor"]))
    with TestClient(app, base_url="http://127.0.0.1:8000") as client:
        yield client
