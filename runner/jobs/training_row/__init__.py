"""One row of a recipe's data as Axolotl and TRL make it for the trainer: `python -m training_row REQUEST.json`, in a
folder with the rendered files.

    request: {"row": 0, "gpus": {...}}     which row, over all datasets; GPUs as Axolotl's validator has them
    answer, one line, `ROW {...}`:
        {"dataset": "...", "type": "...", "index": 0, "rows": 300, "sequence_len": 128, "long": "drop", "eos": "</s>",
         "learns": "labels", "parts": [{"name": "text", "ids": [...], "tokens": ["..."], "learned": [...],
                                        "runs": [{"text": "...", "start": 0, "learned": false}],
                                        "ends": [{"by": "</s>", "learned": true}]}]}
    or {"error": {"kind": "missing" | "data" | "unshown", "said": "..."}}
"""
