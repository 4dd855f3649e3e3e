"""CTP for btx. Loaded by name, ``btx.load("ctp")``; nothing here is imported before."""
