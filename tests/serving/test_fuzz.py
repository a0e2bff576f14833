import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

pytest.importorskip("fastapi", reason='the extra "serve" is not installed')
pytest.importorskip("pyarrow", reason='the extra "serve" is not installed')
pytest.importorskip("httpx2")

from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mentor_pyg.serving.app import CurrentExport, create_app

PATHS = ("/", "/recommend", "/similar", "/search", "/why", "/about", "/health", "/metrics")
NAMES = ("user", "item", "items", "k", "q", "kind")
TEXT = st.one_of(
    st.sampled_from(["user/1", "i1", "10", "-1", "1e9", "item", "user", "../../etc/passwd", "\0"]),
    st.text(max_size=300),
)
BUDGET = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.fixture(scope="module")
def served(exports: dict[str, Path]) -> TestClient:
    app: FastAPI = create_app(CurrentExport(exports["mentor"]))
    return TestClient(app, base_url="http://127.0.0.1")


def answered(client: TestClient, method: str, url: str, **more: Any) -> None:
    """Check that a request is answered, or refused in the one shape."""
    response = client.request(method, url, **more)
    assert response.status_code < 500, response.text
    assert "Traceback" not in response.text
    if response.status_code >= 400:
        error = response.json()["error"]
        assert error["status"] == response.status_code
        assert error["reason"]
    elif response.headers["content-type"] == "application/json":
        assert response.json().get("version") or "openapi" in response.json()


@BUDGET
@given(
    path=st.one_of(
        st.sampled_from(PATHS), TEXT.map(lambda text: "/" + quote(text, errors="replace"))
    ),
    query=st.lists(st.tuples(st.sampled_from(NAMES), TEXT), max_size=4),
    method=st.sampled_from(["GET", "GET", "GET", "POST", "PUT", "HEAD", "OPTIONS", "DELETE"]),
)
def test_any_path_and_query(
    path: str, query: list[tuple[str, str]], method: str, served: TestClient
) -> None:
    text = "&".join(f"{name}={quote(value, errors='replace')}" for name, value in query)
    if method == "HEAD":
        assert served.head(f"{path}?{text}").status_code < 500
    else:
        answered(served, method, f"{path}?{text}")


@BUDGET
@given(raw=st.binary(max_size=60))
def test_any_bytes_in_a_query(raw: bytes, served: TestClient) -> None:
    for path in ("/recommend?user=", "/search?q=", "/why?item="):
        answered(served, "GET", path + quote(raw))


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXT),
    lambda inner: st.one_of(
        st.lists(inner, max_size=5), st.dictionaries(st.sampled_from((*NAMES, "x")), inner)
    ),
    max_leaves=10,
)
BODIES = st.one_of(
    st.binary(max_size=200),
    JSON.map(lambda value: json.dumps(value).encode()),
    st.fixed_dictionaries(
        {"items": st.lists(TEXT, max_size=4)}, optional={"k": JSON, "item": TEXT}
    ).map(lambda value: json.dumps(value).encode()),
)


@BUDGET
@given(
    body=BODIES,
    path=st.sampled_from(["/recommend", "/why", "/reload", "/search"]),
    kind=st.sampled_from(["application/json", "text/plain", "multipart/form-data", "\xff"]),
)
def test_any_body(body: bytes, path: str, kind: str, served: TestClient) -> None:
    headers = {b"content-type": kind.encode("latin-1")}
    answered(served, "POST", path, content=body, headers=headers)
