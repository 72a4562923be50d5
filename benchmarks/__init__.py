"""Comparisons with other tools, and with what the machine can do."""
