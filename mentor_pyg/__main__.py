"""``python -m mentor_pyg`` is the command ``mentor-pyg``."""

from mentor_pyg.cli.main import main

__all__: list[str] = []

if __name__ == "__main__":
    main()
