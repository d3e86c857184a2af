"""`python -m jobs` is the `distnn` command."""

from jobs.cli import main

main()
