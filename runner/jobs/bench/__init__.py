"""Benchmarks endpoints, cell by cell: one endpoint under one load of one shape. `python -m bench run bench.json`."""
