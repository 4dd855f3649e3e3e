"""Futu in a box."""
