"""Adapters that put a bundle behind the interface of another framework, one module for each.

Nothing is imported here: only the module of a framework needs it. All adapters load the bundle from its path,
which is what they write into a configuration. They never copy or pickle weights.
"""
