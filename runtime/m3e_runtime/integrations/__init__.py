"""Adapters that put a bundle behind the interface of another framework, one module for each.

Nothing is imported here: a framework is needed only by who imports its module. All of them load the bundle
from its path, which is what they write into a configuration; no weights are ever copied or pickled.
"""
