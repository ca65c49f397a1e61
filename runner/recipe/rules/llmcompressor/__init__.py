"""Rules of the kind that llm-compressor and bitsandbytes quantize."""
