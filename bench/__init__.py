"""The benchmark: how much of an empty Falcon resource's throughput the service keeps. Run by ``make bench``."""
