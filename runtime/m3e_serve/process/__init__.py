"""The process: sockets, signals, workers, draining."""
