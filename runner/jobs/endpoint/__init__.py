"""Servers behind one address: started, really ready, watched, drained, and nothing left of them.

`python -m endpoint endpoint.json [-- COMMAND ...]`, with nothing but the standard library.
"""
