"""`python -m proxy` is the same as `ropeway`."""

from .cli import main

if __name__ == "__main__":
    main()
