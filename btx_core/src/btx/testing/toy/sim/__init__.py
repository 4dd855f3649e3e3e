"""Toy's wire protocol over ``btx.sim``: written from the venue's manual, not from the adapter's codec."""
