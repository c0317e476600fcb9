"""Reports as one HTML file: no scripts, nothing from elsewhere, light and dark, fit to print."""
