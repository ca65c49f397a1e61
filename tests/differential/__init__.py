"""Our verdict on mutated recipes beside Axolotl's own: `make differential`."""
