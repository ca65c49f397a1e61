"""Servers of endpoint.json, up for the time of one command; stands in for the package of branch `endpoint`."""
