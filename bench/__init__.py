"""The benchmark: the service's throughput in proportion to an empty Falcon resource. Run by ``make bench``."""
