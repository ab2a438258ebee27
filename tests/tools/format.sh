#!/bin/sh
# Formats the sources with the pinned clang-format (other versions lay code out differently); with --check
# it only says which files differ.
set -eu
version=18.1.8
venv=build/tools/clang-format-$version
if [ ! -x "$venv/bin/clang-format" ]; then
    sh tests/tools/deps.sh python3 python3-venv
    python3 -m venv "$venv"
    "$venv/bin/pip" install -q "clang-format==$version"
fi
files=$(find base hub tokenizer engine llm retrieval convert bench server cli tests -name '*.[ch]')
if [ "${1:-}" = --check ]; then
    # shellcheck disable=SC2086
    "$venv/bin/clang-format" --dry-run --Werror $files
else
    # shellcheck disable=SC2086
    "$venv/bin/clang-format" -i $files
fi
