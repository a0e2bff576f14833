import asyncio
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason='the extra "serve" is not installed')
pytest.importorskip("pyarrow", reason='the extra "serve" is not installed')
pytest.importorskip("httpx2")

import torch
from fastapi.testclient import TestClient
from httpx2 import Response
from prometheus_client import CollectorRegistry

from mentor_pyg import dependencies
from mentor_pyg.export import FoldIn, best_items, read_export
from mentor_pyg.serving.app import CurrentExport, create_app
from mentor_pyg.serving.catalog import Catalog
from mentor_pyg.serving.guard import Guard
from tests.serving.conftest import EVIL


def refused(response: Response, status: int, reason: str) -> None:
    """Check the one shape of all refusals."""
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert set(response.json()) == {"error"}
    assert error["status"] == status
    assert reason in error["reason"], error


def scored(response: Response) -> list[tuple[str, float]]:
    assert response.status_code == 200, response.text
    return [(one["id"], one["score"]) for one in response.json()["results"]]


def test_recommends_to_a_user(client: TestClient, exports: dict[str, Path]) -> None:
    export = read_export(exports["mentor"])
    item, score = export.tables.recommend(7, k=5)
    response = client.get("/recommend", params={"user": "user/7", "k": 5})
    assert response.json()["version"] == export.version
    assert response.json()["user"] == "user/7"
    expected = [export.item_id[n] for n in item[0].tolist()]
    assert [one for one, _ in scored(response)] == expected
    assert [one for _, one in scored(response)] == pytest.approx(score[0].tolist(), rel=1e-4)
    first = response.json()["results"][0]
    assert set(first) == {"id", "score", "title", "description", "link", "image"}
    assert first["link"] == f"https://example.org/{first['id']}"


def test_recommends_to_who_chose_items(client: TestClient, exports: dict[str, Path]) -> None:
    export = read_export(exports["mentor"])
    chosen = torch.tensor([4, 9])
    query = FoldIn(export.tables)(chosen)
    item, _ = best_items(export.tables.item, query, 6, chosen)
    response = client.post("/recommend", json={"items": ["i9", "i4", "i9"], "k": 6})
    assert [one for one, _ in scored(response)] == [f"i{n}" for n in item.tolist()]


def test_similar_items_are_the_nearest_by_cosine(
    client: TestClient, exports: dict[str, Path]
) -> None:
    table = torch.nn.functional.normalize(read_export(exports["mentor"]).tables.item)
    cosine = table @ table[5]
    cosine[5] = -2
    found = scored(client.get("/similar", params={"item": "i5", "k": 200}))
    assert len(found) == table.size(0) - 1
    assert [one for _, one in found] == pytest.approx(
        cosine.sort(descending=True)[0][:-1].tolist(), abs=1e-5
    )
    assert found[0][0] == f"i{int(cosine.argmax())}"


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"q": "RED  sho", "k": 2}, ["i0", "i1"]),
        ({"q": "shoe 11"}, ["i11"]),
        ({"q": "i79"}, ["i79"]),
        ({"q": "hoe"}, []),
        ({"q": " "}, []),
        ({"q": "<img"}, ["i3"]),
        ({"q": "img src"}, ["i3"]),
        ({"q": "user/5", "kind": "user", "k": 2}, ["user/5", "user/50"]),
        ({"q": "red", "kind": "user"}, []),
    ],
)
def test_search_finds_beginnings(
    params: dict[str, Any], expected: list[str], client: TestClient
) -> None:
    response = client.get("/search", params=params)
    assert [one["id"] for one in response.json()["results"]] == expected


def test_why_splits_the_score_and_marks_what_was_chosen(
    client: TestClient, exports: dict[str, Path]
) -> None:
    export = read_export(exports["mentor"])
    best = client.get("/recommend", params={"user": "user/7", "k": 1}).json()["results"][0]
    why = client.get("/why", params={"user": "user/7", "item": best["id"]}).json()
    assert why["score"] == pytest.approx(best["score"], rel=1e-4)
    assert set(why["views"]) == {"visual", "textual"}
    assert sum(why["views"].values()) == pytest.approx(why["score"], abs=1e-4)
    assert why["graph"]["from_model"] is True
    seen = {export.item_id[n] for n in export.tables.seen.of(torch.tensor([7]))[1].tolist()}
    assert {one["id"] for one in why["neighbours"] if one["chosen"]} == seen & {
        one["id"] for one in why["neighbours"]
    }
    near = why["neighbours"][0]["id"]
    chosen = client.post("/why", json={"item": best["id"], "items": [near]}).json()
    assert [one["chosen"] for one in chosen["neighbours"]] == [True] + [False] * 9
    bare = client.get("/why", params={"item": best["id"]}).json()
    assert bare["score"] is bare["views"] is None
    assert not any(one["chosen"] for one in bare["neighbours"])


def test_why_says_where_there_is_no_split(exports: dict[str, Path]) -> None:
    catalog = Catalog(read_export(exports["lightgcn"]))
    why = catalog.why("i4", user="user/1")
    assert why["score"] is not None
    assert why["views"] is None
    assert why["graph"]["from_model"] is False


@pytest.mark.parametrize(
    ("path", "status", "reason"),
    [
        ("/recommend?user=nobody", 404, "there is no user 'nobody'"),
        ("/similar?item=nothing", 404, "there is no item 'nothing'"),
        ("/why?item=i1&user=nobody", 404, "there is no user"),
        ("/recommend", 422, "'user'"),
        ("/recommend?user=user/1&k=0", 422, "'k'"),
        ("/recommend?user=user/1&k=201", 422, "'k'"),
        ("/recommend?user=user/1&k=x", 422, "'k'"),
        ("/recommend?user=" + "a" * 257, 422, "'user'"),
        ("/recommend?user=", 422, "'user'"),
        ("/search?q=" + "a" * 101, 422, "'q'"),
        ("/search?q=a&kind=model", 422, "'kind'"),
        ("/recommend?user=user/1&kk=2", 422, "'kk': it is none of user, k"),
        ("/why?item=i1&k=2", 422, "'k': it is none of item, user"),
        ("/search?q=a&padding=" + "a" * 4096, 414, "at most 4096 bytes"),
        ("/reload", 405, "Method Not Allowed"),
        ("/docs", 404, "Not Found"),
        ("/export.json", 404, "Not Found"),
        ("/../export.json", 404, "Not Found"),
        ("/%2e%2e/%2e%2e/etc/passwd", 404, "Not Found"),
        ("/page.html", 404, "Not Found"),
    ],
)
def test_refuses_questions(path: str, status: int, reason: str, client: TestClient) -> None:
    refused(client.get(path), status, reason)


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (b"{}", 422, "'items'"),
        (b"[]", 422, ""),
        (b"no", 422, ""),
        (b"\xff\xfe", 422, ""),
        (b'{"items": []}', 422, "'items'"),
        (b'{"items": ["i1"], "k": 201}', 422, "'k'"),
        (b'{"items": [1]}', 422, "'items.0'"),
        (b'{"items": "i1"}', 422, "'items'"),
        (b'{"items": ["i1"], "file": "/etc/passwd"}', 422, "'file'"),
        (b'{"items": ["i1", "nothing"]}', 404, "there is no item 'nothing'"),
        (b'{"items": ["\\ud800"]}', 422, ""),
        (b'{"items": [' + b'"i1",' * 500 + b'"i1"]}', 422, "'items'"),
        (b"[" * 60_000, 400, ""),
        (b'{"items": ["' + b"a" * 65_536 + b'"]}', 413, "at most 65536 bytes"),
    ],
)
def test_refuses_bodies(body: bytes, status: int, reason: str, client: TestClient) -> None:
    headers = {"content-type": "application/json"}
    refused(client.post("/recommend", content=body, headers=headers), status, reason)


def test_broken_json_is_no_field(client: TestClient) -> None:
    headers = {"content-type": "application/json"}
    response = client.post("/recommend", content=b'{"items": [', headers=headers)
    assert (response.status_code, response.json()["error"]["reason"]) == (422, "JSON decode error")


@pytest.mark.parametrize("headers", [{}, {"content-type": "application/x-www-form-urlencoded"}])
@pytest.mark.parametrize("path", ["/recommend", "/why"])
def test_a_body_that_does_not_say_what_it_is_is_told_how_to(
    path: str, headers: dict[str, str], client: TestClient
) -> None:
    response = client.post(path, content=b'{"items": ["i1"], "item": "i2"}', headers=headers)
    refused(response, 422, "needs the header 'Content-Type: application/json'")


def test_an_answer_is_no_page_and_only_the_page_runs_its_own_script(client: TestClient) -> None:
    for path in ("/health", "/nothing", "/"):
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-store"
        assert "access-control-allow-origin" not in headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert ("script-src 'sha256-" in policy) == (path == "/")
    assert client.get("/health").headers["content-type"] == "application/json"


def test_the_page_asks_no_other_host(client: TestClient) -> None:
    page = client.get("/").text
    assert "http://" not in page
    assert "https://" not in page
    assert "innerHTML" not in page
    assert EVIL not in page


def secured(exports: dict[str, Path]) -> TestClient:
    app = create_app(CurrentExport(exports["mentor"]), token="sesame-ö")
    return TestClient(app, base_url="http://example.org")


@pytest.mark.parametrize(
    "path", ["/recommend?user=user/1", "/metrics", "/about", "/nothing", "/openapi.json"]
)
def test_a_token_is_asked_for(path: str, exports: dict[str, Path]) -> None:
    client = secured(exports)
    for given in (
        None,
        "Bearer",
        "Bearer sesame",
        "Basic sesame-ö",
        "Bearer sesame-öö",
        "sesame-ö",
    ):
        headers = {} if given is None else {"authorization": given.encode()}
        response = client.get(path, headers=headers)  # type: ignore[arg-type]
        refused(response, 401, "Authorization: Bearer TOKEN")
        assert response.headers["www-authenticate"] == "Bearer"
    right = {"authorization": "Bearer sesame-ö".encode()}
    assert client.get(path, headers=right).status_code in (200, 404)  # type: ignore[arg-type]


def test_the_page_and_health_need_no_token(exports: dict[str, Path]) -> None:
    assert secured(exports).get("/").status_code == 200
    assert secured(exports).get("/health").status_code == 200
    refused(secured(exports).post("/reload"), 401, "Bearer")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8000", 200),
        ("localhost", 200),
        ("[::1]:8000", 200),
        ("evil.example", 400),
        ("127.0.0.1.evil.example", 400),
        ("[", 400),
        ("", 400),
    ],
)
def test_without_a_token_no_other_name_is_answered_to(
    host: str, status: int, client: TestClient
) -> None:
    assert client.get("/health", headers={"host": host}).status_code == status


def test_without_a_token_no_other_sites_page_is_answered(client: TestClient) -> None:
    evil = {"origin": "https://evil.example"}
    refused(client.post("/reload", headers=evil), 403, "other sites")
    refused(client.get("/health", headers={"origin": "null"}), 403, "other sites")
    own = {"origin": "http://127.0.0.1:8000"}
    assert client.get("/health", headers=own).status_code == 200


def test_a_bug_shows_no_trace(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(Catalog, "similar", broken)
    response = client.get("/similar?item=i1")
    refused(response, 500, "this is a bug")
    assert "secret" not in response.text
    assert "secret" in caplog.text
    assert 'status="500"' in client.get("/metrics").text


def test_metrics_count_by_route(client: TestClient) -> None:
    version = client.get("/health").json()["version"]
    for path in ("/recommend?user=user/1", "/recommend?user=nobody", "/no/such/path"):
        client.get(path)
    text = client.get("/metrics").text
    assert 'mentor_pyg_requests_total{route="/recommend",status="200"} 1.0' in text
    assert 'mentor_pyg_requests_total{route="/recommend",status="404"} 1.0' in text
    assert 'mentor_pyg_requests_total{route="none",status="404"} 1.0' in text
    assert "such" not in text
    assert 'mentor_pyg_request_seconds_count{route="/recommend"} 2.0' in text
    assert f'mentor_pyg_export{{version="{version}"}} 1.0' in text


def test_questions_in_a_body_take_no_parameters(client: TestClient) -> None:
    response = client.post("/recommend?k=2", json={"items": ["i1"]})
    refused(response, 422, "'k': there are none")


def test_reload_takes_over_and_a_failed_one_changes_nothing(
    exports: dict[str, Path],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mentor_pyg.serving.app.time.sleep", lambda _: None)
    served = tmp_path / "served"
    shutil.copytree(exports["mentor"], served)
    client = TestClient(create_app(CurrentExport(served)), base_url="http://127.0.0.1")
    first = client.get("/about").json()
    assert f'version="{first["version"]}"' in client.get("/metrics").text
    (served / "items.parquet").unlink()
    response = client.post("/reload")
    (failed,) = caplog.records
    assert failed.getMessage().startswith("not reloaded, and what was served before stays: ")
    assert failed.exc_info is None and str(served) in failed.getMessage()
    refused(response, 409, "what was served before stays")
    assert str(tmp_path) not in response.text
    (served / "export.json").write_text("[1]")
    with caplog.at_level(logging.CRITICAL):
        refused(client.post("/reload"), 409, "what was served before stays")
    with caplog.at_level(logging.CRITICAL), monkeypatch.context() as patch:
        patch.setattr(dependencies, "has_package", lambda name: name != "pyarrow")
        refused(client.post("/reload"), 409, "what was served before stays")
    assert client.get("/about").json() == first
    shutil.rmtree(served)
    served.symlink_to(exports["lightgcn"])
    assert client.post("/reload").json()["version"] != first["version"]
    assert client.get("/about").json()["model"]["name"] == "lightgcn"
    text = client.get("/metrics").text
    assert 'mentor_pyg_reloads_total{outcome="failed"} 3.0' in text
    assert 'mentor_pyg_reloads_total{outcome="done"} 1.0' in text
    assert f'version="{first["version"]}"' not in text


@pytest.mark.parametrize("method", ["for_user", "for_items", "similar", "search", "why"])
def test_an_answer_is_of_one_export_whatever_is_reloaded_meanwhile(
    method: str, exports: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    current = CurrentExport(exports["mentor"])
    before, after = current.catalog, Catalog(read_export(exports["lightgcn"]))
    client = TestClient(create_app(current), base_url="http://127.0.0.1")
    original = getattr(Catalog, method)

    def reloaded(self: Catalog, *args: Any, **named: Any) -> Any:
        current.catalog = after
        return original(self, *args, **named)

    monkeypatch.setattr(Catalog, method, reloaded)
    responses = {
        "for_user": lambda: client.get("/recommend?user=user/1"),
        "for_items": lambda: client.post("/recommend", json={"items": ["i1"]}),
        "similar": lambda: client.get("/similar?item=i1"),
        "search": lambda: client.get("/search?q=i1"),
        "why": lambda: client.get("/why?item=i1"),
    }
    answer = responses[method]().json()
    assert answer.pop("version") == before.version
    assert current.catalog is after


def test_a_body_without_end_is_not_read_to_its_end() -> None:
    read = 0

    def endless() -> Iterator[bytes]:
        nonlocal read
        while read < 100:
            read += 1
            yield b" " * 16_384

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": next(chunks), "more_body": True}

    async def send(message: Any) -> None:
        sent.append(message)

    async def never(*_: Any) -> None:
        raise AssertionError

    chunks, sent = endless(), []  # type: ignore[var-annotated]
    guard = Guard(never, None, CollectorRegistry())
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/recommend",
        "query_string": b"",
        "headers": [(b"host", b"127.0.0.1")],
    }
    asyncio.run(guard(scope, receive, send))
    assert sent[0]["status"] == 413
    assert read <= 5


def test_reload_waits_for_a_folder_that_is_being_replaced(
    exports: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = tmp_path / "served"
    shutil.copytree(exports["mentor"], served)
    current = CurrentExport(served)
    shutil.rmtree(served)
    monkeypatch.setattr(
        "mentor_pyg.serving.app.time.sleep", lambda _: served.symlink_to(exports["lightgcn"])
    )
    assert current.reload().version == read_export(exports["lightgcn"]).version
