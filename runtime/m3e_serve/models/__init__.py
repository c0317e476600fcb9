"""The bundles that are served."""
