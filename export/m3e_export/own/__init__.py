"""The exporter for the families in :mod:`m3e_export.architectures`, ``--exporter own``.

Read :mod:`export` first. It writes each artifact through :mod:`artifacts`, which tries the precision plans of
:mod:`plans`. Every candidate runs in :mod:`vectors`. :mod:`half_range` finds what fp16 cannot hold.
"""

from m3e_export.own.export import export_own

__all__ = ["export_own"]
