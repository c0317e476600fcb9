"""Wheels and C archives for every platform, built on one Linux machine."""
