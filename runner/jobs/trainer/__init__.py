"""What Axolotl does not train, on transformers' own Trainer; `python -m trainer trainer.yaml` in an engine environment."""
