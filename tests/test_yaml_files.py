from pathlib import Path

import pytest

from mentor_pyg.yaml_files import read_yaml


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file.yaml"


def test_reads_what_pyyaml_reads(path: Path) -> None:
    path.write_text("base: &base {a: 1, b: 2}\nmine:\n  <<: *base\n  b: [é, 1e-3x]\n", "utf-8")
    assert read_yaml(path) == {"base": {"a": 1, "b": 2}, "mine": {"a": 1, "b": ["é", "1e-3x"]}}
    path.write_text("")
    assert read_yaml(path) is None


@pytest.mark.parametrize("text", ["a: 1\nb: 2\na: 3\n", "x:\n- {b: 1,\n  a: {}, a: {}}\n"])
def test_refuses_keys_that_are_there_twice(path: Path, text: str) -> None:
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"^{path} has 'a' twice .* in line 3; leave one"):
        read_yaml(path)


@pytest.mark.parametrize("content", [b"a: [", b"\xff\xfe\xff", b"{[a]: 1}", b"a: !!python/name:os"])
def test_refuses_what_is_no_yaml(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"^{path} is no YAML file: "):
        read_yaml(path)


@pytest.mark.parametrize("text", ["1e-3", "-1E3", "1.e+2", "+2e0", "1.5e-3"])
def test_numbers_may_have_an_exponent_without_a_point_or_sign(path: Path, text: str) -> None:
    path.write_text(f"a: {text}\n{text}: '{text}'\n")
    assert read_yaml(path) == {"a": float(text), text: text}  # A name stays as it is.
