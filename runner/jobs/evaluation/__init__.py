"""One evaluation, in the environment that holds lm-eval: ask, run what was written where that is code, sum up.

`python -m evaluation ask CONFIG.yaml...`, `python -m evaluation execute GENERATED RESULTS`, `python -m evaluation
summarise RESULTS`. What goes wrong in a way that a person can mend is told in one line, `evaluation: error: ...`.
"""


class Problem(Exception):
    """Something that the person who runs this can mend."""
