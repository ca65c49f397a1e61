"""Rules about data preparation: what a source, a tokenizer and the work need, and which keys go together."""
