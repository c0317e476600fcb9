"""Scoring the artifacts of a bundle and the PyTorch original on the same tasks of mteb.

Read :mod:`evaluate` first: it runs the tasks that :mod:`suites` plans with the encoders of :mod:`encoder`.
:mod:`published` holds published scores, :mod:`golden` compares with them, :mod:`report` and :mod:`page` write
the results.
"""
