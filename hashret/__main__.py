"""``python -m hashret`` is ``hashret``."""

from hashret.cli import main

if __name__ == "__main__":
    main()
