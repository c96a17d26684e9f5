"""`python -m infra.cli` is `hubbub`."""

from infra.cli import main

main()
