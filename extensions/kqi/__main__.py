"""`python -m kqi`."""

from kqi.cli import main

if __name__ == "__main__":
    main()
