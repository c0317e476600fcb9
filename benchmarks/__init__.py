"""Ours against its peers, in one run."""
