"""Rules of kinds that DeepSpeed trains as a pipeline."""
