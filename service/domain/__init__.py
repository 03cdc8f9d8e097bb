"""Decisions: plain functions over plain values. No I/O, no framework, and nobody here asks for the time."""
