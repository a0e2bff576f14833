"""An export served over HTTP; needs the extra ``serve``."""

__all__: list[str] = []
