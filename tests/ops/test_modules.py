import importlib
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    "package",
    [
        "mentor_pyg.graph",
        "mentor_pyg.losses",
        "mentor_pyg.nn.conv",
        "mentor_pyg.ops",
        "mentor_pyg.ops.contrast",
        "mentor_pyg.ops.propagation",
    ],
)
def test_no_public_name_hides_a_module(package: str) -> None:
    found = importlib.import_module(package)
    assert found.__file__ is not None
    modules = {path.stem for path in Path(found.__file__).parent.iterdir()}
    assert not modules & set(found.__all__)
