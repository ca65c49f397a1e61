"""Rows with pictures -> what Axolotl trains on, and what the trained model answers about pictures it has not seen.

Runs inside Axolotl's environment as `python -m multimodal rows rows.json` and `python -m multimodal ask
questions.json`; the core never imports it. Modules further down this list import only those above:

    problem          what went wrong, in one line
    pictures         coloured shapes that are drawn on the spot, with questions whose answers are known
    sources          a dataset -> conversations with their pictures, whichever of the usual formats it is in
    rows             conversations -> files that Axolotl reads, none of them longer than `sequence_len`
    model, served    conversations -> answers: of a folder by transformers, of a server by OpenAI's interface
    answers          questions -> the share that is answered right
"""
