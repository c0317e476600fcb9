"""Who computes the partitions of a job: this machine, Ray, Spark."""
