"""What Axolotl does not train, on transformers' own Trainer; run as `python -m trainer FILE`."""
