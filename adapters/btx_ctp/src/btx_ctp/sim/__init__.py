"""CTP in a box."""
