"""Keeps start-up short: packages that a stage does not use are hidden before transformers is imported.

transformers looks for optional packages and imports those that it finds, quantizers and scikit-learn among them: 2.5 of
the 5.6 seconds that `import Trainer` takes in Axolotl's environment. A `None` in `sys.modules` makes a package look not
installed, to `importlib.util.find_spec` as to `import`.
"""

import sys

from .settings import Settings

ALWAYS = ("peft", "torchao", "sklearn", "scipy", "pandas", "torchvision", "PIL", "evaluate", "trl", "axolotl", "numba",
          "deepspeed")  # fmt: skip


# objectives whose rows have pictures
SEEING = ("flamingo", "captioning")


def unused(settings: Settings) -> list[str]:
    optim = str(settings.arguments.get("optim", ""))
    found = [name for name in ALWAYS if name != "PIL" or settings.objective not in SEEING]
    if not any(word in optim for word in ("8bit", "bnb", "paged")):
        found.append("bitsandbytes")
    if "torchao" in optim:
        found.remove("torchao")
    if not settings.from_hub:
        found += ["datasets", "pyarrow"]
    if settings.own.get("context"):
        found.remove("scipy")  # by which passages are found
    if not settings.arguments.get("use_liger_kernel"):
        found += ["liger_kernel", "kernels"]
    return found


def hide(packages: list[str]) -> None:
    for name in packages:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]
