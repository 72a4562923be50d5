"""Runs on TPU slices, from a laptop: `python launch/tpu.py`."""
