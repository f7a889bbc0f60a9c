# What a contributor runs; continuous integration runs the same, through .ci/run. It works with GNU make 3.81 (macOS).

PYTHON = python3
FUZZ = tests/lua/test_arguments.py tests/test_fuzz.py tests/test_connection.py

.PHONY: start test screenshots fuzz bench chaos lint audit fmt load unload clean help
.NOTPARALLEL:

start: .venv/questd ## run questd on http://127.0.0.1:9324 with a private Valkey
	@.venv/bin/questd serve

test: .venv/dev ## run all tests, against real servers that the tests start themselves, on every core up to eight
	.venv/bin/python -m pytest -rs -n auto --maxprocesses 8 --dist worksteal

screenshots: .venv/dev ## take the README's pictures of the console anew, with chromium
	@QUESTD_PICTURES=docs .venv/bin/python -m pytest -rs tests/test_browser.py -k pictures

fuzz: .venv/dev ## look for bad input that is not refused, for as long as you like: make fuzz TIMES=100 SEED=1
	@seed=$(or $(SEED),$$(date +%s)); echo "SEED=$$seed"; FUZZ_TIMES=$(or $(TIMES),20) FUZZ_SEED=$$seed \
	.venv/bin/python -m pytest -v -x --hypothesis-seed=$$seed $(FUZZ)

bench: .venv/dev ## measure how fast questd is here, with wrk: make bench PEERS="elasticmq fauxqs goaws ministack"
	@.venv/bin/python -m tests.bench $(if $(PEERS),--peers $(PEERS)) $(if $(README),--readme)

chaos: .venv/dev ## inject faults while clients work, and check that nothing is lost: make chaos SECONDS=20 SEED=2
	@.venv/bin/python -m tests.chaos $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED)) $(if $(README),--readme)

lint: .venv/dev ## check the code: ruff, mypy, luacheck
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	@.venv/bin/questd load --print > .venv/quest.lua
	@.venv/bin/questd load --print --test-mode > .venv/quest-test-mode.lua
	@if command -v luacheck > /dev/null; then luacheck .venv/quest.lua .venv/quest-test-mode.lua; \
	elif [ -n "$$CI" ]; then echo 'luacheck is missing: apt-get install lua-check' >&2; exit 1; \
	else echo 'The Lua files were not checked, luacheck is missing: apt-get install lua-check'; fi

# What is asked is what `pip install questd` would bring today. Where the advisories cannot be had, nothing is claimed.
audit: .venv/dev ## look for known vulnerabilities in what questd depends on, in PyPI's advisories
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check 'pip-audit>=2.10,<3'
	@.venv/bin/pip-audit --strict --progress-spinner off . > .venv/audit 2>&1; status=$$?; cat .venv/audit; \
	if grep -qE 'could not be audited|(Connection|Service|HTTP)Error' .venv/audit; then \
	echo 'Nothing was found out: the advisories of PyPI cannot be had from here (a mirror may lack them).' >&2; fi; \
	exit $$status

fmt: .venv/dev ## format the code, and repair what ruff can
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

# The URL reaches questd through the environment, so that no shell reads a password in it and `ps` does not show it.
load: .venv/questd ## put the library into a Redis: make load REDIS_URL=redis://127.0.0.1:6379
	@$(if $(REDIS_URL),QUESTD_REDIS_URL="$$REDIS_URL") .venv/bin/questd load

unload: .venv/questd ## take the library out again, messages stay: make unload REDIS_URL=…
	@$(if $(REDIS_URL),QUESTD_REDIS_URL="$$REDIS_URL") .venv/bin/questd unload

clean: ## remove .venv and everything else that was made here; messages stay
	rm -rf .venv .bench build dist *.egg-info .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find questd tests -name __pycache__ -prune -exec rm -rf {} +

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1	\2/p' Makefile | expand -t 14
	@echo 'PYTHON=python3.13 makes .venv with that Python, anew if it has another: make test PYTHON=python3.13'

# Who names a Python gets it: a .venv that was made with another is made anew.
ifeq ($(origin PYTHON),command line)
ifneq ($(shell $(PYTHON) --version 2> /dev/null),$(shell .venv/bin/python --version 2> /dev/null))
another = .venv/another
.venv/another: ;
endif
endif

# .venv has questd installed so that it runs from this directory: a change of the code needs no new installation.
.venv/questd: wanted = .
.venv/dev: wanted = .[dev]
.venv/questd .venv/dev: pyproject.toml .venv/bin/python $(another)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null || { \
	echo "questd needs Python 3.11 or newer, and $(PYTHON) is $$($(PYTHON) --version 2> /dev/null || echo missing):" \
	'install one, then for example: make $(MAKECMDGOALS) PYTHON=python3.13' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2> /dev/null || { \
	echo 'questd needs the venv module of $(PYTHON): apt-get install python3-venv' >&2; exit 1; }
	@echo 'Installing what is needed into .venv …'
	@$(if $(another),false,.venv/bin/python -m pip --version > /dev/null 2>&1) || $(PYTHON) -m venv --clear .venv
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check --editable '$(wanted)'
	@touch .venv/questd $@

# Gone, or a link that leads nowhere since Python was upgraded: then all is installed anew.
.venv/bin/python: ;
