"""Rules of retrieval: documents that are there, passages that are read whole, and a model that has room for them."""
