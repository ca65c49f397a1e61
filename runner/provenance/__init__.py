"""What a run was made of, kept and checked: locks, lineage, hashes, cards, and what may be deleted."""
