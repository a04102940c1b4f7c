"""Inputs recorded from the real services, with their sources."""
