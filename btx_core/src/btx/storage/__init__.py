"""What outlives the process. ``from btx.storage.journal import open_journal``."""
