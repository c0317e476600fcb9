"""Executors, which compute the partitions of a job: this machine, Ray, Spark."""
