"""What we refuse and Axolotl's validator passes, on purpose: code -> what becomes of it after the validator.

A refusal for such a reason alone is counted apart: it is no answer to the question that the validator answers.
"""

from __future__ import annotations

import re

LATER = {
    "R101": "DeepSpeed can't partition packed weights, when the model is built",
    "R103": "PyTorch's gradient scaler stops at the first step",
    "R105": "Axolotl sets up FSDP and hands the trainer DeepSpeed's file as well",
    "R106": "the file is looked for when training starts",
    "R112": "no device mesh of that shape exists, when the ranks start",
    "R115": "a part of each matrix is saved as the model",
    "R122": "the base is held in 32 bits",
    "R124": "PEFT stops after the model was loaded",
    "R129": "the loader stops at tokens whose embeddings are frozen",
    "R130": "the merge after training finds no adapter",
    "R131": "the merge after training finds no weights to add to",
    "R132": "the merge after training does not know the adapter",
    "R133": "a picture's tokens are cut off",
    "R143": "the model's processor takes no pictures",
    "R144": "the collator refuses packing once the model is loaded",
    "R145": "the dataset's type is looked up when the data are prepared",
    "R146": "transformers stops while it builds the model",
    "R147": "the collator finds no pictures",
    "R148": "nothing is trained, and the log alone says so",
    "R151": "TRL refuses to start",
    "R152": "the dataset's type is looked up when the data are prepared",
    "R158": "prepared shards are the runner's, which Axolotl knows nothing of",
    "R159": "prepared shards are the runner's, which Axolotl knows nothing of",
    "R160": "TRL refuses to start",
    "R161": "TRL refuses to start",
    "R162": "TRL refuses to start",
    "R163": "TRL refuses to start",
    "R164": "the trainer finds no server",
    "R184": "transformers refuses the word once the model was loaded",
    "R185": "transformers refuses the name once the model was loaded",
    "R186": "transformers refuses the name once the model was loaded",
    "R187": "the tokenizer is looked for beside an architecture",
    "R188": "the runner builds a base model from an architecture",
    "R189": "a table of positions has no row for the longer ones",
    "R475": "transformers finds no package for the tracker, when the trainer is made",
    "R850": "the first row is made when the data are prepared",
    "R851": "the first row is made when the data are prepared",
    "R852": "nothing is learned of any row",
    "R853": "datasets can't read the file",
    "R854": "the template is looked for once the tokenizer is loaded",
    "R855": "the model is never shown where to stop",
    "R856": "the end is looked up once the tokenizer is loaded",
    "R857": "the template is compiled with the first row",
    "R858": "new embeddings are looked for once the tokenizer is loaded",
    "R859": "the score is read one token early",
    "R860": "PEFT finds other sizes when it loads the adapter",
    "R861": "transformers has no such head, or a random one, when the model is loaded",
    "R862": "vLLM ends when it is started",
    "R863": "datasets can't split so few rows",
    "R864": "a head falls on two GPUs in the first forward pass",
    "R501": "code from the hub is a question of trust",
    "R476": "a secret in a file is a question of trust",
    "R502": "a secret in a file is a question of trust",
    "R503": "pickled data are a question of trust",
    "R874": "sizes are checked when the model is made",
    "R870": "the plugin imports its library when the model is loaded",
    "R871": "code from a repository is a question of trust",
    "R841": "code that is imported is a question of trust",
    "R842": "a place outside the run is a question of trust",
    "R843": "a flag among the values is a question of trust",
}
# code -> what it says there: the same codes elsewhere are the validator's own question
LATER_SAID = {
    # an older spelling that Axolotl still takes, and neither the plan nor other rules read
    "R004": r"unknown key `fsdp_\w+` in `fsdp_config`",
    # what the kind needs
    "R006": r"the recipe lacks `(?:processor_type|sequence_len|rl)`",
    # pydantic reads "5" as 5, and true as 1; a recipe has what is meant
    "R007": r"`.*` must be .*, not (?:the text .*|`(?:true|false|[01](?:\.0)?)`)",
    "R008": r"`learning_rate` must be more than 0.*|`\w+` can't be `no`|`rl` can't be .*",
    # a number of rows is handed on as a fraction
    "R193": r"`val_set_size` can't be a number of rows with .*",
    "R194": r".* does not work with `prepared`",
    # DeepSpeed alone looks
    "R832": r"`(?:micro_batch_size|gradient_accumulation_steps|sequence_len)` must be .*",
}


def is_later(codes: tuple[str, ...], told: tuple[str, ...]) -> bool:
    """Whether all that we said is about what comes after the validator."""
    return all(
        code in LATER or re.fullmatch(LATER_SAID.get(code, "$^"), said) for code, said in zip(codes, told, strict=True)
    )
