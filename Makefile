# The front door. `make help` lists what there is.
SHELL := /bin/bash
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
VENV := .venv
RUNNER := $(VENV)/bin/runner
PROFILE ?= full
# Taken as they stand: text from the command line is never expanded, and reaches the shell only through the environment.
override R := $(value R)
override PROFILE := $(value PROFILE)
override MODEL := $(value MODEL)
override BOX := $(value BOX)
override DETACH := $(value DETACH)
override WEEK := $(value WEEK)
override WATCH := $(value WATCH)
# what `runner` takes for --box where it is not given
override RUNNER_BOX := $(value BOX)
override GOALS := $(value MAKECMDGOALS)
export R PROFILE MODEL BOX DETACH WEEK WATCH RUNNER_BOX GOALS
# Make takes an argument with `=` for an assignment, and expands it; and with -n this line runs when `validate` does not.
NAMES_ONLY = case "$$R/$$PROFILE" in (*[!a-z0-9._/-]*) echo "not a recipe's name or a profile" >&2; exit 2;; esac

# each has an environment of its own, from runner/engines/locks
ENGINES := axolotl datatrove llmcompressor rag vllm
# has a lock too, and runs nothing: it is built where somebody asks SkyPilot about a task
ASKED := skypilot
GRAPH := artifacts/graph.mk
# engines that publish a schema of their keys; both lie in Axolotl's environment
SCHEMA_ENGINES := axolotl transformers
# and one in its own
SERVERS := vllm
RECIPE_FILES := $(shell find recipes -name '*.yaml' -o -type d)

.PHONY: help setup list validate show plan recipe smoke serve rag path log report doctor env graph schemas tasks templates smoke-data lock readme diagnostics fuzz mutate check lint test test-all differential bench bench-rag clean

##@ Start

help: ## this list
	@echo "usage: make TARGET [R=phase4/dpo-13b] [PROFILE=smoke] [-j2] [-n]"
	@echo
	@awk -F ':.*## ' '/^##@ / {printf "%s%s\n", n++ ? "\n" : "", substr($$0, 5)} \
	  /^[a-z-]+:.*## / {printf "  %-13s %s\n", $$1, $$2}' Makefile
	@echo
	@echo "examples:"
	@echo "  make recipe R=phase4/dpo-13b PROFILE=smoke   the whole chain, tiny, on a CPU"
	@echo "  make recipe R=phase4/dpo-13b                 as written, on the recipe's box"
	@echo "  make -n recipe R=phase4/dpo-13b              what would run, and nothing run"
	@echo "  make plan R=phase4/dpo-13b BOX=8xh100        what it would cost on eight H100"
	@echo "  make recipe R=phase4/dpo-13b BOX=slurm-4x8xh100   on a Slurm cluster"
	@echo "  make serve MODEL=llama-2-13b PROFILE=smoke   an endpoint with OpenAI's API"
	@echo
	@echo "the runner has more commands: .venv/bin/runner --help"

$(RUNNER): pyproject.toml runner/__init__.py
	@echo "setting up the runner in $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $(RUNNER)

$(VENV)/.dev: $(RUNNER)
	@echo "installing the tools for development"
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

setup: $(RUNNER) ## the core into .venv; engines come on first need

##@ Recipes

list: $(RUNNER) ## the catalogue of recipes
	@$(RUNNER) list

validate: $(RUNNER) ## everything wrong with R, or with all recipes
	@$(RUNNER) validate -- $${R:+"$$R"}

show: $(RUNNER) need-R ## what R will run, and where each value came from
	@$(RUNNER) show --profile "$$PROFILE" --resolved -- "$$R"

plan: $(RUNNER) ## does R (or each) fit, how long, at what cost; BOX=8xh100
	@if [ -n "$$R" ]; then set -- -- "$$R"; else set -- --all; fi; \
	$(RUNNER) plan --profile "$$PROFILE" $${BOX:+--box="$$BOX"} "$$@"

##@ Run

recipe: $(RUNNER) need-R ## run R and what it needs, less what is up to date; BOX= elsewhere
	@$(RUNNER) validate --quiet --needs --profile "$$PROFILE" -- "$$R"
	@$(RUNNER) doctor --quiet --profile "$$PROFILE" -- "$$R"
	@$(NAMES_ONLY) && R="$${R#recipes/}" && $(MAKE) "artifacts/$${R%.yaml}/$$PROFILE/done"
	@$(RUNNER) last --profile "$$PROFILE" -- "$$R"

smoke: $(RUNNER) ## every recipe in smoke (with -j2: two at a time)
	@$(MAKE) all-smoke

serve: $(RUNNER) ## serve MODEL, or what a recipe left; DETACH=1 returns when ready
	@[ -n "$$MODEL" ] || { echo "say what to serve: MODEL=codellama-34b, or a recipe that leaves a model" >&2; exit 2; }
	@$(RUNNER) serve --profile "$$PROFILE" $${DETACH:+--detach} -- "$$MODEL"

rag: $(RUNNER) need-R ## answer from R's documents, with a chat page; DETACH=1 as above
	@$(MAKE) recipe
	@$(RUNNER) rag --profile "$$PROFILE" $${DETACH:+--detach} -- "$$R"

##@ Learn

path: $(RUNNER) ## the twenty weeks, what is done, what is next; WEEK=5 for one
	@$(RUNNER) path $${WEEK:+--week="$$WEEK"}

log: $(RUNNER) ## draft the log of this week, or of WEEK=5, from its runs
	@$(RUNNER) log $${WEEK:+--week="$$WEEK"}

report: $(RUNNER) ## all runs as one page; WATCH=1 serves it while they go on
	@$(RUNNER) report $${WATCH:+--watch}

##@ Machine

doctor: $(RUNNER) ## what this machine has and lacks, for R if given
	@$(RUNNER) doctor -- $${R:+"$$R"}

env: $(RUNNER) ## build the engine environments now rather than on first need
	@for engine in $(ENGINES); do $(RUNNER) env build $$engine || exit 1; done

##@ What is generated

graph: $(GRAPH) ## the makefile that chains the recipes

schemas: $(RUNNER) ## schemas/ from the engines' own, data/keys and data/kinds
	@$(RUNNER) env build axolotl
	@mkdir -p artifacts/.schemas
	@for engine in $(SCHEMA_ENGINES); do \
	  "$$($(RUNNER) env path axolotl)/bin/python" runner/jobs/$${engine}_schema.py > artifacts/.schemas/$$engine.json 2> artifacts/.schemas/$$engine.log || exit 1; \
	done
	@for engine in $(SERVERS); do \
	  $(RUNNER) env build $$engine || exit 1; \
	  "$$($(RUNNER) env path $$engine)/bin/python" runner/jobs/$${engine}_schema.py > artifacts/.schemas/$$engine.json 2> artifacts/.schemas/$$engine.log || exit 1; \
	done
	@$(VENV)/bin/python -m runner.recipe.schema_build data schemas $(patsubst %,artifacts/.schemas/%.json,$(SCHEMA_ENGINES) $(SERVERS))

tasks: $(RUNNER) ## data/lm_eval_tasks.txt from the pinned lm-eval
	@$(RUNNER) env build llmcompressor
	@mkdir -p artifacts
	@"$$($(RUNNER) env path llmcompressor)/bin/python" runner/jobs/lm_eval_tasks.py > artifacts/tasks.txt
	@mv artifacts/tasks.txt data/lm_eval_tasks.txt

templates: $(RUNNER) ## data/chat_templates.yaml from the pinned Axolotl
	@$(RUNNER) env build axolotl
	@mkdir -p artifacts
	@"$$($(RUNNER) env path axolotl)/bin/python" runner/jobs/chat_templates.py > artifacts/templates.yaml
	@mv artifacts/templates.yaml data/chat_templates.yaml

lock: $(RUNNER) ## runner/engines/locks from the extras in pyproject.toml
	@for engine in $(ENGINES) $(ASKED); do $(VENV)/bin/python -m runner.engines.relock $$engine . || exit 1; done

readme: $(RUNNER) ## the generated parts of README.md and the lessons
	@$(VENV)/bin/python -m runner.report.costs
	@$(VENV)/bin/python -m runner.report.lessons
	@$(VENV)/bin/python -m runner.report.readme README.md

diagnostics: $(RUNNER) ## data/diagnostics.md, the long form of every code
	@$(VENV)/bin/python -m runner.report.diagnostics data/diagnostics.md

##@ Develop

fuzz: $(VENV)/.dev ## 200,000 damaged recipes; FUZZ=20000 for fewer, SEED=1 for others
	@$(VENV)/bin/python -m tests.fuzz "$${FUZZ:-200000}" "$${SEED:-0}"

mutate: $(VENV)/.dev ## do the tests notice a changed rule? 300 of them; MUTATE=all
	@$(VENV)/bin/python -m tests.mutate "$${MUTATE:-300}"

smoke-data: ## data/smoke from its generator
	@$(PYTHON) runner/jobs/make_smoke_data.py data/smoke

check: $(VENV)/.dev lint ## lint, types, import contracts, the fast tests
	@$(VENV)/bin/python -m pytest -m "not engine and not slow" -n 2

lint: $(VENV)/.dev
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports

# a test of real processes that failed is tried again, and pytest counts it (`rerun`); one that hangs is ended
AGAIN := -n 2 --dist load --again 2 --durations 40 --timeout 1500 -o timeout_func_only=true
test: $(VENV)/.dev lint ## each engine and kind smoked: under an hour
	@$(VENV)/bin/python -m pytest -m "not nightly" $(AGAIN)

test-all: $(VENV)/.dev lint ## every recipe smoked: over an hour
	@$(VENV)/bin/python -m pytest $(AGAIN)

differential: $(VENV)/.dev ## our verdict on 3,000 mutated recipes beside Axolotl's own
	@$(VENV)/bin/python -m tests.differential.measure --count 3000 --out data/agreement.json

bench: $(VENV)/.dev ## how long start-up, a run and a fit take
	@$(VENV)/bin/python -m tests.benchmarks.startup
	@$(VENV)/bin/python -m tests.benchmarks.history
	@$(VENV)/bin/python -m tests.benchmarks.overhead
	@$(VENV)/bin/python -m tests.benchmarks.preparation
	@$(VENV)/bin/python -m tests.benchmarks.fitting
	@$(VENV)/bin/python -m tests.benchmarks.serving

bench-rag: $(VENV)/.dev ## retrieval from 1,000 to 100,000 passages: fifteen minutes
	@$(VENV)/bin/python -m tests.benchmarks.retrieval

clean: ## remove .venv and caches; keeps artifacts/
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

.PHONY: need-R
need-R:
	@[ -n "$$R" ] || { echo "say which recipe: R=phase4/dpo-13b; \`make list\` shows them" >&2; exit 2; }

# A goal that there is not. Its text comes from the command line, so it reaches python by the environment alone.
.DEFAULT:
	@$(PYTHON) -c 'import difflib, os, re, sys; \
	known = re.findall(r"^([a-z-]+):.*\x23\x23 ", open("Makefile").read(), re.M); \
	wrong = [goal for goal in os.environ["GOALS"].split() if goal not in known and "/" not in goal]; \
	close = difflib.get_close_matches(wrong[0], known, n=1) if wrong else []; \
	sys.exit("error: " + (f"no target `{wrong[0]}`" if wrong else "something is missing that this is made from") \
	+ (f", did you mean `{close[0]}`?" if close else "; `make help` lists the targets"))' || exit 2

$(GRAPH): $(RUNNER) $(RECIPE_FILES)
	@$(RUNNER) graph --out $@

# It is read only by the calls that build from it, so that `make help` starts nothing.
ifneq (,$(filter artifacts/% all-%,$(MAKECMDGOALS)))
include $(GRAPH)
.PHONY: all-smoke all-full
all-smoke: $(RECIPES:%=artifacts/%/smoke/done)
all-full: $(RECIPES:%=artifacts/%/full/done)
endif
