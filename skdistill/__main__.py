"""The command line as ``python -m skdistill``."""

from ._command_line import main

if __name__ == "__main__":
    main()
