"""``python -m btx`` is the ``btx`` command."""

from btx.cli import main

main()
