"""Reports as a single HTML file without scripts and external resources."""
