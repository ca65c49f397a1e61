"""Rules of benchmarks: endpoints, and the loads that are put on them."""
