"""`python -m maskstream` is the `maskstream` command."""

from pipeline.cli.main import main

main()
