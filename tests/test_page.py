import base64
from html.parser import HTMLParser
from pathlib import Path

import pytest

from mentor_pyg.page import Section, Table, as_html, as_markdown

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


@pytest.fixture
def sections(tmp_path: Path) -> list[Section]:
    figure = tmp_path / "figures" / "curve.png"
    figure.parent.mkdir()
    figure.write_bytes(PNG)
    table = Table(
        columns=["model", "a|b"], rows=[["x<y>", "1"], ["z", "2"]], bold=frozenset({(1, 1)})
    )
    return [
        Section(title="Top & bottom", level=1, text=["One.", "Two < three."]),
        Section(title="Part", table=table, figure=figure, code="run --now"),
    ]


class Seen(HTMLParser):
    """Collects tags, which have to be closed, and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_markdown(sections: list[Section], tmp_path: Path) -> None:
    assert as_markdown(sections, tmp_path) == (
        "# Top & bottom\n\nOne.\n\nTwo < three.\n\n## Part\n\n"
        "| model | a\\|b |\n|---|---:|\n| x<y> | 1 |\n| z | **2** |\n\n"
        "![Part](figures/curve.png)\n\n```bash\nrun --now\n```\n"
    )


def test_html_is_whole_and_needs_no_other_file(sections: list[Section]) -> None:
    seen = Seen(as_html(sections))
    assert seen.open == []
    tags = [tag for tag, _ in seen.tags]
    assert tags.count("tr") == 3 and tags.count("strong") == 1
    for text in ("Top & bottom", "Two < three.", "x<y>", "run --now"):
        assert text in seen.text
    (image,) = [attributes for tag, attributes in seen.tags if tag == "img"]
    assert image["alt"] == "Part"
    start, _, data = str(image["src"]).partition(",")
    assert (start, base64.b64decode(data)) == ("data:image/png;base64", PNG)
    assert not any("href" in attributes for _, attributes in seen.tags)
