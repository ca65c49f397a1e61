"""Preference judging: `python -m judge judge.json RESULTS` asks a served model whose answers are better.

judge.json: `tasks`, `against` (results of another run; the tasks' own answers when left out), `endpoint` (address up to
its version), `model`, and if need be `limit`, `max_tokens`, `temperature`, `num_concurrent`, `prompt`, `extra_body`,
`seed`. Answers are those that lm-eval logged as samples. Each pair is asked about in both orders; RESULTS gets
judge.json, the count of it all, and verdicts.jsonl, a row for each pair with what the judge said. Standard library and
numpy.
"""


class Problem(Exception):
    """Something that the person who runs this can mend."""
