"""`python -m rvtui`."""

from rvtui.cli import main

raise SystemExit(main())
