"""Rules for recipes that GNU Make or a Slurm array carries out."""
