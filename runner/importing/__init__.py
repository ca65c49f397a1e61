"""Another tool's config -> the text of a recipe, with all that was not taken over as it stands; and a recipe -> Axolotl's
plain config. A tool is one module here with `KNOWN`, the keys it is told by, and `translate`."""
