# `make` alone lists the targets. Each builds the environment that it needs.

PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.ready
ASSIGNMENT := two_layer_net
NOTEBOOKS := notebooks/$(ASSIGNMENT)

# nbgrader starts alembic, and Jupyter its kernels, by their bare names.
export PATH := $(abspath $(VENV))/bin:$(PATH)
# Two threads: enough for these small matrices, and the same numbers on every machine.
export OMP_NUM_THREADS ?= 2

# Jupyter refuses root, who is the only user in many containers.
LAB := jupyter lab $(if $(filter 0,$(shell id -u)),--allow-root)

.DEFAULT_GOAL := help
# For the commands that take a platform's file: make export FILE=canvas.csv DRY_RUN=1
DRY := $(if $(DRY_RUN),--dry-run)
EXPORT := nbgrader export --exporter=autograder.export.PlatformExport --assignment="['$(ASSIGNMENT)']"

.PHONY: help setup lab formgrader demo release handout roster collect-zip grade feedback export feedback-zip likeness report data \
	notebooks check quick test browser nbval attacks fairness reproduce bench bench-checks bench-grading lock clean given-file

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## build the virtual environment .venv from requirements.lock

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; name one with: make PYTHON=/path/to/python3"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

lab: course/lab/$(ASSIGNMENT) ## open the released notebooks in JupyterLab, as a student does
	cd course/lab/$(ASSIGNMENT) && $(LAB)

course/lab/$(ASSIGNMENT): | release
	mkdir -p course/lab
	cp -r course/release/$(ASSIGNMENT) $@

formgrader: $(READY) ## open JupyterLab with nbgrader's formgrader
	PYTHONPATH="$(CURDIR)" $(LAB) --ServerApp.jpserver_extensions=autograder.served=True

demo: $(READY) ## release, submit, grade, return and report with a simulated class
	python -m autograder.demo

release: $(READY) ## make the students' version in course/release
	mkdir -p course
	nbgrader generate_assignment $(ASSIGNMENT) --force

handout: release ## make the folder and the zip that a student needs: course/handout
	python -m autograder.handout

roster: $(READY) given-file ## take a class list into the gradebook: make roster FILE=students.csv
	python -m autograder roster "$(FILE)" $(DRY)

collect-zip: $(READY) given-file ## take in a platform's zip: make collect-zip FILE=submissions.zip [WORKSHEET=moodle.csv]
	python -m autograder collect-zip $(ASSIGNMENT) "$(FILE)" $(if $(WORKSHEET),--worksheet "$(WORKSHEET)") $(DRY)

grade: $(READY) ## grade course/submitted, what has changed, all students in parallel [ACCEPT_LOWER=1]
	python -m autograder grade $(ASSIGNMENT) $(if $(ACCEPT_LOWER),--accept-lower)

feedback: $(READY) ## write the feedback pages into course/feedback
	nbgrader generate_feedback $(ASSIGNMENT)

export: $(READY) given-file ## fill the points into a platform's file: make export FILE=canvas.csv [DRY_RUN=1]
	$(EXPORT) "--PlatformExport.file=$(FILE)" $(if $(TO),"--to=$(TO)") $(if $(DRY_RUN),--PlatformExport.dry_run=True)

feedback-zip: $(READY) given-file ## pack the feedback pages for Moodle: make feedback-zip FILE=worksheet.csv
	python -m autograder feedback-zip $(ASSIGNMENT) "$(FILE)" --to "$(or $(TO),course/feedback.zip)" $(DRY)

likeness: $(READY) ## write course/likeness.html: evidence of like work, for the instructor alone
	python -m autograder likeness $(ASSIGNMENT) --to course/likeness.html

report: $(READY) ## write course/report.html and report.csv: what the class understood
	python -m autograder report $(ASSIGNMENT) --to course/report.html

given-file:
	@test -n "$(FILE)" || { echo "Name the platform's file: make $(MAKECMDGOALS) FILE=..."; exit 1; }

data: $(READY) ## fetch CIFAR-10 into the cache
	python -m course_utils.data fetch

notebooks: data ## execute the source notebooks and store their outputs
	python -m autograder.notebooks

check: $(READY) ## check style and types, in seconds
	ruff check .
	ruff format --check .
	mypy

quick: $(READY) ## run the tests that aren't marked slow: less than a minute in all
	python -m pytest -q -m "not slow"

test: check browser nbval ## check, run every test, and every notebook with its stored outputs compared
	OMP_NUM_THREADS=1 python -m pytest -q -m "not alone" --numprocesses logical --maxprocesses 4 --dist worksteal
	python -m pytest -q -m alone

browser: $(READY) ## install the Chromium in which tests look at pages, where root can install Debian's
	@{ command -v chromium || command -v chromium-browser || command -v google-chrome || { \
		test "$$(id -u)" = 0 && command -v apt-get && export DEBIAN_FRONTEND=noninteractive \
		&& timeout 600 apt-get update && timeout 900 apt-get install --yes --no-install-recommends chromium; \
	}; } >$(VENV)/browser.log 2>&1 || echo "There is no browser, and none could be installed ($(VENV)/browser.log)."

nbval: data
	python -m pytest -q --nbval --nbval-sanitize-with tests/nbval_sanitize.cfg --nbval-cell-timeout 1200 $(NOTEBOOKS)

attacks: $(READY) ## try the attacks in every way of building the cage, as root and as an ordinary user
	python -m tests.attacks

fairness: $(READY) ## try the banks of wrong and of right answers, and print both
	python -m tests.fairness

reproduce: data ## train with the reported settings and print the results beside the reported ones
	python -m benchmarks.reproduce

bench: data ## compare the training step with PyTorch, and the halving search with the full grid
	python -m benchmarks.training

bench-checks: $(READY) ## print how long each check takes on a student's machine
	python -m benchmarks.checks

bench-grading: $(READY) ## compare the time of grading a class with stock nbgrader's
	python -m benchmarks.grading

lock: $(READY) ## make requirements.lock from pyproject.toml anew
	pip-compile --quiet --upgrade --extra instructor --allow-unsafe --strip-extras --no-header --no-annotate \
		--no-emit-index-url --no-emit-find-links --no-emit-trusted-host --output-file requirements.lock pyproject.toml
	@# A build's own suffix, as in 2.13.0+cpu, names a build that other machines may not have.
	sed -i -e 's/+[a-z0-9.]*$$//' -e '1i # Made from pyproject.toml by `make lock`. Do not edit.' requirements.lock

clean: ## delete what was built: the environment, caches and course/demo; grades are kept
	rm -rf $(VENV) *.egg-info build dist .mypy_cache .pytest_cache .ruff_cache course/demo
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
