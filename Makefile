# make setup   .venv with the package and its tools, and the VGG16 weights in the cache
# make demo    setup, then train a style for a few minutes and stylize a photo with it
# make test    setup, then everything that CI runs
# make docs    the docs as a site in build/site, with an API reference; make docs-serve shows it on this machine
#
# make PYTHON=/path/to/python setup    chooses the interpreter; otherwise the first on PATH that is new enough

.DEFAULT_GOAL := setup
.PHONY: setup demo test docs docs-serve FORCE

CHECK := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$p" -c "$(CHECK)" 2>/dev/null && echo "$$p" && break; done)
RUN := .venv/bin/python

define FETCH_WEIGHTS
import logging, sys
from stylenet.system.errors import UserError
from stylenet.losses.vgg_weights import vgg_weights
logging.basicConfig(format="%(message)s")
logging.getLogger("stylenet").setLevel(logging.INFO)
try:
    vgg_weights("vgg16")
except UserError as error:
    sys.exit(str(error))
endef
export FETCH_WEIGHTS
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

setup: .venv/.installed
	@$(RUN) -c "$$FETCH_WEIGHTS"

# The stamp holds the clone's path: in a clone that was moved or copied, .venv still points at the old one.
ifneq ($(shell cat .venv/.installed 2>/dev/null),$(CURDIR))
.venv/.installed: FORCE
endif

# A setup that was killed leaves no pip or the mark "unfinished"; half-unpacked packages look whole to pip, so begin again.
.venv/.installed: pyproject.toml
	@if [ -e .venv/.unfinished ] || ! $(RUN) -c "import pip; $(CHECK)" 2>/dev/null; then \
		"$(PYTHON)" -c "$(CHECK)" 2>/dev/null || { \
			found="$$("$(or $(PYTHON),python3)" --version 2>/dev/null)"; \
			echo "stylenet needs Python 3.11 or newer; $(or $(PYTHON),python3) is $${found:-no Python}." \
				"Install one, or name it: make PYTHON=/path/to/python3.11 $(or $(MAKECMDGOALS),setup)" >&2; exit 1; }; \
		"$(PYTHON)" -m venv --clear .venv && touch .venv/.unfinished || exit 1; \
	fi
	@echo "Installing stylenet and its tools into .venv (PyTorch is large: a few minutes the first time) ..."
	@$(RUN) -m pip install --quiet --editable '.[dev]'
	@rm -f .venv/.unfinished
	@pwd > $@

DEMO_STYLE := starry_night
DEMO_CKPT := checkpoints/demo.safetensors
DEMO_PHOTO := stylenet/assets/photos/val/castle.jpg
DEMO_OUTPUT := demo/castle_$(DEMO_STYLE).jpg

demo: setup
	$(RUN) scripts/train.py style=$(DEMO_STYLE) experiment=demo
	$(RUN) scripts/stylize.py ckpt=$(DEMO_CKPT) input=$(DEMO_PHOTO) output=$(DEMO_OUTPUT) overwrite=true
	@echo "The photo:    $(DEMO_PHOTO)"
	@echo "The picture:  $(DEMO_OUTPUT)"

test: setup
	$(RUN) -m ruff check
	$(RUN) -m ruff format --check
	$(RUN) -m pyright
	$(RUN) -c 'from importlinter.cli import lint_imports_command; lint_imports_command()'
	@# Tests that press Ctrl-C, kill or wait share the cores with others: what fails among them is tried again, alone.
	$(RUN) -m pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile || \
		{ [ $$? = 1 ] && $(RUN) -m pytest --last-failed --last-failed-no-failures=none; }

docs: .venv/.installed
	$(RUN) -m benchmarks.site.build

DOCS_PORT := 8000

docs-serve: docs
	$(RUN) -m http.server --bind 127.0.0.1 --directory build/site $(DOCS_PORT)
