import logging
import warnings

import pytest

from mentor_pyg.training.quiet import quiet_lightning

LOGGERS = [logging.getLogger(name) for name in ("lightning.fabric", "lightning.pytorch")]
TREESPEC = "`isinstance(treespec, LeafSpec)` is deprecated, use something else"


def test_notices_are_silent_and_warnings_are_not() -> None:
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        with quiet_lightning():
            levels = [logger.getChild("utilities").getEffectiveLevel() for logger in LOGGERS]
            warnings.warn(TREESPEC, FutureWarning, stacklevel=1)
            warnings.warn("news", UserWarning, stacklevel=1)
        warnings.warn(TREESPEC, FutureWarning, stacklevel=1)
    assert levels == [logging.WARNING] * 2
    assert [str(warning.message) for warning in shown] == ["news", TREESPEC]


@pytest.mark.parametrize("level", [logging.DEBUG, logging.ERROR])
def test_everything_is_as_before_afterwards(level: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for logger in LOGGERS:
        monkeypatch.setattr(logger, "level", level)
    filters = list(warnings.filters)
    with pytest.raises(RuntimeError), quiet_lightning():
        assert all(logger.level >= level for logger in LOGGERS)
        raise RuntimeError
    assert [logger.level for logger in LOGGERS] == [level] * 2
    assert warnings.filters == filters
