"""`python -m hadaflow`: the command line."""

from hadaflow.cli import main

raise SystemExit(main())
