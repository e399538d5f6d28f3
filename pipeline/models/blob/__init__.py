"""Exact masks of flat colours, without weights; for tests and demos."""
