"""Rules for recipes that Axolotl runs."""
