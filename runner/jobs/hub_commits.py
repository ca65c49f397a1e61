"""Repositories of the hub, as JSON on stdin -> the commit of each, as JSON on stdout: huggingface_hub asks."""

import json
import sys

from huggingface_hub import HfApi


def main() -> None:
    api = HfApi()
    answers = []
    for each in json.load(sys.stdin):
        try:
            info = api.repo_info(each["name"], repo_type=each["type"], revision=each["revision"], timeout=20)
            answers.append({"commit": info.sha})
        except Exception as error:  # whatever it is, the person is told it in the library's own words
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            answers.append({"error": f"{type(error).__name__}: {lines[0] if lines else 'no word of it'}"[:300]})
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
