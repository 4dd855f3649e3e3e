"""The imperative shell: one thread, one loop, sessions, mailboxes, clocks. Rules decide; this acts."""
