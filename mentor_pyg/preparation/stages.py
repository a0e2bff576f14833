"""What of a preparation is done, kept with its tables, so that an interrupted one can go on."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

__all__ = ["Stages"]


class Stages:
    """Run every stage once, also over several runs that were interrupted.

    A stage's tables and its result are written in one transaction: they are there, or neither is.

    Args:
        connection: The database.
        say: What is told of stages that are there already.
    """

    def __init__(self, connection: DuckDBPyConnection, say: Callable[[str], None]) -> None:
        self.connection, self.say = connection, say
        connection.execute("CREATE TABLE IF NOT EXISTS done (stage VARCHAR, result VARCHAR)")
        rows = connection.execute("SELECT stage, result FROM done").fetchall()
        self.done = {stage: json.loads(result) for stage, result in rows}

    def run(self, stage: str, work: Callable[[], Any]) -> Any:
        """Return what ``work`` gives, or gave in an earlier run.

        Args:
            stage: The name of the stage.
            work: What makes its tables, and returns what JSON can hold.
        """
        if stage in self.done:
            self.say(f"done before: {stage}")
            return self.done[stage]
        self.connection.begin()
        result = work()
        self.connection.execute("INSERT INTO done VALUES (?, ?)", [stage, json.dumps(result)])
        self.connection.commit()
        return result
