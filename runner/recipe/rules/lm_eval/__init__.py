"""Rules of evaluations: tasks that there are, a model that can answer them, and code that is allowed to run."""
