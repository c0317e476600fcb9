"""The HTTP service ``m3e-serve``. Needs the extra ``serve``; importing ``m3e_runtime`` does not import it."""
