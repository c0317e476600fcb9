"""The benchmark on a machine with a GPU and without a network, to which only so much can be copied at a time.

``pack`` cuts wheels into parts that fit, ``join`` puts them together there, in any order and over several
commands, ``day`` runs what is to be measured, step by step, and ``verdict`` says which claims hold. ``join``
needs nothing but Python.
"""
