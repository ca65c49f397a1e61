"""The long form of every diagnostic code that is not a rule's own: what `runner explain CODE` prints."""

from __future__ import annotations

# code -> (title, explanation)
CODES: dict[str, tuple[str, str]] = {
    "R001": (
        "the file can't be read",
        "There is no such recipe, or its file is missing, not UTF-8 text, binary, or larger than 64 KiB. Recipes are\n"
        "small text files under recipes/; one far beyond that size is something else.",
    ),
    "R002": (
        "not valid YAML",
        "The file is read as YAML 1.2. The place given is where the reader lost its way, which is at or after the\n"
        "mistake: look at the line before it too, for a missing quote, bracket or colon, or a tab used to indent.",
    ),
    "R003": (
        "not a recipe's shape",
        "A recipe is one mapping of keys to values, at most 32 levels deep and 20,000 values large with aliases\n"
        "written out, with no tags, no infinite or undefined numbers. The bounds keep a hostile file cheap.",
    ),
    "R004": (
        "unknown key",
        "Each kind's schema is closed: the header's keys, the kind's own, and what the pinned engine accepts. Axolotl\n"
        "itself drops a key it does not know without a word, and trains without what you meant.",
    ),
    "R005": (
        "a key given twice",
        "YAML forbids it, most readers keep the last one silently. Which one was meant can't be known.",
    ),
    "R006": ("a required key is missing", "Every recipe has `recipe`, `kind` and `title`; a kind may require more."),
    "R007": (
        "wrong type",
        "In YAML 1.2 `no`, `yes`, `on` and `off` are text, `1e-5` is a number, and anything in quotes is text.",
    ),
    "R008": ("a value that is not allowed", "The key takes one of a few values, or a number within bounds."),
    "R009": (
        "kind missing or unknown",
        "`kind` chooses the schema, the engine and the templates; nothing can be checked without it.",
    ),
    "R010": (
        "a newer format",
        "`recipe:` is the version of the recipe format. This runner reads up to the version it was released with.",
    ),
    "R011": (
        "not a recipe's name",
        "A name becomes a path under recipes/ and artifacts/ and a target of make, so it may hold only lower-case\n"
        "letters, digits, `-`, `_`, `.` and up to three `/`.",
    ),
    "R012": (
        "unknown box",
        "A box is a machine described in data/boxes; `box:` names the one the recipe is written for.",
    ),
    "R013": ("`extends` leads nowhere or in a circle", "The parent must be a recipe, and not this one's own child."),
    "R014": ("`--set` can't be applied", "It takes KEY=VALUE, the key dotted for nested ones; lists are set whole."),
    "R017": ("the new recipe exists", "`runner new` never overwrites."),
    "R018": (
        "a box file that makes no sense",
        "A box file needs `gpus` (per node) and `gpu`; all else comes from the facts about that GPU in data/gpus, and\n"
        "from defaults: 8 cores and 128 GiB of RAM per GPU, 500 GiB of disk, one node, no price. All of it can be\n"
        "said, the GPU's own rates too (`bf16_tflops: 900`). A GPU that is not in data/gpus needs `gpu_memory_gib`,\n"
        "`compute_capability`, `bf16_tflops` (dense) and `memory_gb_s`; several `nodes` need `network_gb_s`.",
    ),
    "R019": (
        "the box file can't be written",
        "`runner doctor --write-box` overwrites a file only with `--force`; it may hold what somebody has added.",
    ),
    "R201": (
        "it does not fit",
        "What the recipe must hold at once is more than its box has: memory of one GPU at the worst moment of a\n"
        "step, RAM of the host, or disk. The place is the key whose change alone would mend it, the harmless ones\n"
        "first: micro batch (with accumulation, so that the global batch stays), checkpointing, sharding, the\n"
        "optimizer's states, the adapter, and the sequence length last. `runner plan R --fit` searches all of\n"
        "them together, and `--fit --write` writes the fastest that fits into the recipe. `runner run R --anyway`\n"
        "runs it in spite of this.",
    ),
    "R202": (
        "a model that nothing is known about",
        "A plan is made without the network, from the sizes in the model's config.json. They are known for the\n"
        "models of data/models, for those in the hub's cache on this machine, and for any local directory with a\n"
        "config.json.",
    ),
    "R203": (
        "a config without our header",
        "Any Axolotl config can be planned. The kind is told by its keys: `reward_model`, `rl`,\n"
        "`pretraining_dataset`, and else it is a finetune. To be checked and run it needs `recipe: 1`, its `kind`\n"
        "and a `title`.",
    ),
    "R204": (
        "values that make no plan",
        "The sizes contradict each other or are nonsense, such as a width that its heads don't divide, or\n"
        "sharding that is not one we know.",
    ),
    "R205": (
        "the recipe can't be changed in place",
        "`runner plan R --fit --write` changes only the lines of the keys it sets. It never changes a recipe that\n"
        "came with the runner, and leaves alone what stands behind an anchor, an alias or a merge key, since\n"
        "others share it.",
    ),
    "R301": (
        "an engine environment could not be built",
        "pip's own last words are shown; its whole log is kept in the cache.",
    ),
    "R302": ("not enough disk for an engine environment", "Checked before anything is fetched."),
    "R303": ("this Python can't hold the engine", "The engine's lock was made for the Pythons named."),
    "R304": ("the cache can't be written", "Engine environments are kept there; RUNNER_CACHE names another folder."),
    "R305": ("an environment that is being built", "It can be removed when the process that builds it has ended."),
    "R310": (
        "too few GPUs",
        "The recipe's box has more GPUs than this machine. `PROFILE=smoke` runs the same pipeline on a CPU.",
    ),
    "R311": ("too little GPU memory", "The recipe was written for GPUs with more memory than these."),
    "R312": (
        "too little host memory",
        "The recipe's box has more RAM than this machine; optimizer offload would not fit.",
    ),
    "R313": ("GPUs of an older generation", "The box's compute capability is higher; bf16 or fp8 may be missing here."),
    "R314": (
        "a box of several nodes",
        "A run starts processes on this machine and launches nothing elsewhere; the plan covers all nodes.",
    ),
    "R320": (
        "no compiler for DeepSpeed's CPU Adam",
        "DeepSpeed builds it on first use, with a C++ compiler and, on a GPU box, nvcc.",
    ),
    "R321": (
        "the driver is older than the wheels' CUDA",
        "PyTorch's wheels carry their CUDA, which needs a driver at least as new.",
    ),
    "R322": (
        "a gated model and no token",
        "The hub gives the files of such a model only to accounts that accepted its licence; the token says which.",
    ),
    "R330": (
        "a port that is taken",
        "Users ask on `port`; replicas behind a proxy take those after it. `runner ps` shows what endpoints listen.",
    ),
    "R331": (
        "GPU memory that others hold",
        "A server sets its share of a GPU's memory aside when it starts, and ends where less is free.",
    ),
    "R332": (
        "no HAProxy",
        "It shares one port among several servers, gives a request to another one when a server dies of it, and lets\n"
        "only the paths of OpenAI's interface through where there is a key. It comes with the distribution.",
    ),
    "R333": (
        "GPUs that don't reach each other",
        "Tensor parallel sums up over all GPUs in each layer. Where the board's PCIe switches send what a GPU writes\n"
        "to another through the processor (access control services, or an IOMMU that translates), that hangs or comes\n"
        "out wrong. https://docs.nvidia.com/deeplearning/nccl/user-guide/docs/troubleshooting.html tells how it is\n"
        "turned off; NCCL_P2P_DISABLE=1 goes around it through host memory, more slowly.",
    ),
    "R334": ("no such endpoint", "`runner ps` lists the endpoints of all projects of this user."),
    "R510": (
        "an endpoint for everybody",
        "Beyond this machine an endpoint needs an API key, and then a proxy lets only the paths of OpenAI's interface\n"
        "through: vLLM's own key leaves /invocations, /pause and others open.",
    ),
    "R340": (
        "a service over documents that were not ingested",
        "`runner rag` serves what the newest finished run of a recipe of kind rag left; `make rag` makes it first.",
    ),
    "R341": (
        "a recipe that answers nothing",
        "Only recipes of kind rag have documents to answer from; `runner serve` serves a model alone.",
    ),
    "R342": (
        "an index that is being served",
        "One service at a time is started from a run by `runner rag`, so that ending one can't end another's store.",
    ),
    "R511": (
        "a key file that others can read",
        "The API key is read from RUNNER_API_KEY or from a file of mode 600, and goes on by the environment alone: no\n"
        "command line, log or rendered file has it.",
    ),
    "R514": (
        "a key that nothing asks for",
        "vLLM reads its key from the environment. Others take one on the command line alone, where every user of\n"
        "the machine could read it: before them the proxy asks, and there is one where `api_key_file` is given.",
    ),
    "R401": ("a need that is missing or broken", "`needs` names recipes of this project by alias."),
    "R402": ("needs that go in a circle", "Make can't order them, and neither can anyone."),
    "R403": ("an alias that `needs` lacks", "`${needs.ALIAS.OUTPUT}` takes its alias from the recipe's own `needs`."),
    "R404": (
        "an output that the need does not leave",
        "A run that trains an adapter leaves `adapter`; with `merge: true` also `model`. One that trains all weights\n"
        "leaves `model`.",
    ),
    "R405": (
        "an artifact of the wrong type",
        "`base_model` takes a whole model, `lora_model_dir` an adapter, `trl.reward_funcs` a reward model.",
    ),
    "R406": ("a reference that can't be read", "References are `${needs.ALIAS.OUTPUT}`, `${data}` and `${project}`."),
    "R407": (
        "smoke can't stand in for the model",
        "Smoke builds a tiny model of the same architecture, so it must know that architecture without the network.",
    ),
    "R420": (
        "a sweep's base that won't do",
        "`base` names the recipe that each child starts from: one that trains, and no sweep itself.",
    ),
    "R421": (
        "a sweep without children",
        "The children are every combination of `points` or `isoflop`, `grid` and `seeds`; `tokens_per_parameter`\n"
        "leaves out those of an isoFLOP design that would say nothing of its minimum.",
    ),
    "R422": ("two children of one name", "A child's name is the place of its run; each needs its own."),
    "R423": (
        "a budget that buys no training",
        "An isoFLOP child trains budget / (6 x parameters) tokens, in whole steps of its batch. That takes a model\n"
        "from scratch, and a batch small enough for at least ten steps.",
    ),
    "R917": ("an endpoint is not run", "`runner run` ends; `runner serve` goes on until it is stopped."),
    "R918": (
        "nothing to serve",
        "`make serve MODEL=phase4/dpo-13b` serves what that recipe left: a whole model, a quantized one, or an\n"
        "adapter with its base.",
    ),
    "R919": (
        "an endpoint that a recipe needs",
        "A need is what has finished, and an endpoint never does. Benchmarks and evaluations start a server of their\n"
        "own on what `model` names, and stop it.",
    ),
    "R410": ("a need has not run", "`runner run` runs one recipe; `make recipe` runs what it needs first."),
    "R411": ("another run of this recipe is going on", "Two would write to the same place and want the same GPUs."),
    "R413": (
        "prepared data that can't be trained on",
        "The shards' manifest says what was written: a file that is missing or of another size, a vocabulary larger\n"
        "than the model's, or too few tokens for one row are seen before an engine starts.",
    ),
    "R412": ("artifacts can't be written", "The folder is read-only, or its disk is full."),
    "R949": (
        "no sandbox for code that a model wrote",
        "Such code runs in namespaces of its own: without a network, files read-only, its processes ended with it.\n"
        "That takes unshare(1) of util-linux and a Linux of 5.12 or later that lets a user have namespaces, which\n"
        "containers and some distributions forbid (`kernel.unprivileged_userns_clone`, AppArmor's restriction).",
    ),
    "R950": (
        "no results to compare",
        "`runner compare` takes recipes of kind `eval` that have run in the profile asked for, folders of their runs,\n"
        "or folders with the summary.json that such a run leaves in `results`.",
    ),
    "R951": (
        "evaluations of different questions",
        "A paired difference is between two answers to the same question. Where two evaluations were given different\n"
        "tasks, numbers of examples, versions of a task, or documents (by lm-eval's hashes), it would mean nothing.",
    ),
    "R952": ("no tasks to compare", "None of the tasks and groups that were asked for is in these results."),
    "R953": (
        "a table that can't be read",
        'A table is a folder with table.json = {"columns": [names], "rows": [{name: value}]}, as kinds `quantize`,\n'
        "`bench` and `compare` leave it.",
    ),
    "R800": (
        "nothing to fit",
        "`runner fit` takes CSV files, recipes of sweeps that have run in the profile asked for, and folders of runs.\n"
        "A sweep leaves `output/runs.csv`; a single run has `scaling: {params, tokens, flops, loss}` in its run.json.",
    ),
    "R801": (
        "the table of runs can't be read",
        "It is missing, empty, not UTF-8 text, or larger than 64 MiB. It is a CSV file (commas, semicolons or tabs)\n"
        "whose first line names the columns; empty lines and lines that begin with `#` are passed over.",
    ),
    "R802": (
        "a column is missing",
        "`params` and `loss` must be there, and `tokens` or `flops`: one follows from the other, flops = 6 x params x\n"
        "tokens. The data-constrained law also needs `unique_tokens`. Case and blanks don't matter, further columns\n"
        "are passed over, and usual other names (`model_size`, `training_flop`, `val_loss`) are understood.",
    ),
    "R803": (
        "not a positive number",
        "Sizes, tokens, FLOPs and losses go through logarithms. A run that diverged (`nan`), or one without an end,\n"
        "belongs out of the table: nothing is dropped without a word.",
    ),
    "R804": (
        "too few runs for this law",
        "A law with five parameters goes through any five runs and says nothing. Approach 2 needs budgets with four\n"
        "sizes or more and a lowest loss among them; approach 1 needs sizes with runs at several numbers of FLOPs.",
    ),
    "R805": (
        "not a fit",
        "`runner optimal --fit` reads what `runner fit --json` prints and `runner fit --out DIR` writes as fit.json.",
    ),
    "R806": ("the fit can't be written", "The folder given with `--out` is read-only, a file, or on a full disk."),
    "R807": (
        "no model for this budget",
        "The best size lies outside of what a recipe's `architecture` can be made for, or the box can't train it.",
    ),
    "R808": (
        "the config to import can't be read",
        "There is no such file, or it is not UTF-8 text, binary, or larger than 64 KiB, which no recipe may be.",
    ),
    "R809": (
        "the config to import is no mapping in YAML",
        "What is imported is one YAML document of keys and values, or the same as JSON. The place given is where the\n"
        "reader lost its way; the bounds are those of a recipe (R003), so that a hostile file stays cheap.",
    ),
    "R810": (
        "nobody's config",
        "Which tool a config is for is told by its keys: Axolotl's `base_model`, LLaMA-Factory's `finetuning_type`\n"
        "and `cutoff_len`, TRL's `dataset_name` and `use_peft`. This file has hardly any key that one of them knows.\n"
        "`--from` says which tool it is for where the keys don't.",
    ),
    "R811": (
        "a key given twice in a config",
        "Recipes refuse it (R005). PyYAML, with which the other tools read, keeps the last one without a word, so the\n"
        "import keeps that one too and puts the others into comments.",
    ),
    "R812": (
        "a key that only a recipe's header has",
        "Axolotl drops keys that it doesn't know without a word. `title`, `kind`, `merge` and the like are such keys,\n"
        "but in a recipe they would begin to mean something, so they are put into comments.",
    ),
    "R813": (
        "a key that could not be translated",
        "It changes what is trained, and Axolotl has no key for it, or what it stands for lies outside the config.\n"
        "The recipe is written without it: decide whether it can do without, or what takes its place.",
    ),
    "R814": (
        "a key that the other tool doesn't know either",
        "It is misspelt, or of a version of the tool that is unknown here. The recipe is written without it.",
    ),
    "R815": ("a recipe, not a config", "It has `recipe` and `kind` already; `runner new NAME --from` copies recipes."),
    "R816": (
        "no plain config for this kind",
        "`runner export --to axolotl` writes what Axolotl can read: the recipe must be of a kind that it trains.",
    ),
    "R817": (
        "what a plain config can't say",
        "A recipe does more than Axolotl's config: it merges, reads prepared shards, asks questions afterwards. What\n"
        "is told here, a run of the plain config leaves out. `runner render` writes all that a run executes.",
    ),
    "R818": (
        "a file that a config names can't be taken in",
        "A recipe holds DeepSpeed's config itself, so the JSON file that `deepspeed` names is read and written out.",
    ),
    "R819": (
        "a variable that nobody fills in",
        "None of these tools puts the environment into a config: `${HF_USER}/model` is a model of that very name.\n"
        "A recipe knows `${needs.ALIAS.OUTPUT}`, `${data}` and `${project}` only.",
    ),
    "R820": (
        "the engine's own validator refuses a value",
        "`runner validate --engine` renders the recipe and asks the validator of the engine that it is for, in the\n"
        "engine's environment. The words are the engine's; the place is the key that they name. No rule of ours said\n"
        "so before, which is worth a report.",
    ),
    "R821": (
        "the engine's own validator refuses the recipe",
        "As R820, where the engine names no key that the recipe holds.",
    ),
    "R822": (
        "a key that the engine would drop",
        "Axolotl takes no notice of a key that it does not know: the run works, without what was meant. A key of a\n"
        "plugin is known once the plugin is named in `plugins`.",
    ),
    "R823": (
        "no environment to ask",
        "`runner validate --engine` builds no environment, which takes minutes and gigabytes; `runner env build` does.",
    ),
    "R824": (
        "the engine's validator gave no answer",
        "It ended before it had answered, or took too long: a fault of the environment more likely than of the recipe.",
    ),
    "R825": (
        "a library that was taken to be there",
        "Some libraries have no build for this machine, and the engine looks for them while it validates. The rest of\n"
        "the config was validated as if they were installed.",
    ),
}
