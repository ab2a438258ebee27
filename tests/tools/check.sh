#!/bin/sh
# Static checks: format, folder rule, headers that compile alone, cppcheck, data as its scripts write it.
set -eu
sh tests/tools/deps.sh cppcheck
failed=0
run() { # run NAME COMMAND...
    name=$1
    shift
    if "$@"; then echo "check: $name: ok"; else
        echo "check: $name: FAILED" >&2
        failed=1
    fi
}

headers_alone() {
    flags="-std=c11 -D_GNU_SOURCE -DCP_VERSION=\"0\" -I. -fsyntax-only -Wall -Wextra -Werror $(pkg-config --cflags libmicrohttpd libcjson libutf8proc libpcre2-8 openblas) $(pkg-config --cflags mongoc2 2>/dev/null || pkg-config --cflags libmongoc-1.0)"
    for header in $(find base hub tokenizer engine llm retrieval convert bench server tests -name '*.h'); do
        # shellcheck disable=SC2086
        printf '#include "%s"\n' "$header" | ${CC:-cc} $flags -x c - || return 1
    done
}

static_analysis() {
    cppcheck --quiet --std=c11 --enable=warning,portability,performance --inline-suppr --error-exitcode=1 \
        --suppress=missingIncludeSystem --suppress=unknownMacro -D__x86_64__ -DCP_VERSION='"0"' -I. -j 2 \
        base hub tokenizer engine llm retrieval convert bench server cli
}

unique_names() {
    repeated=$(find base hub tokenizer engine llm retrieval convert bench server cli -name '*.[ch]' -exec basename {} \; |
        grep -v '^commands.h$' | sort | uniq -d)
    [ -z "$repeated" ] || { echo "file names that occur twice: $repeated" >&2; return 1; }
}

generated_data() {
    python3 data/generate.py --check && python3 data/retrieval/generate.py --check
}

run format sh tests/tools/format.sh --check
run "folder rule" sh tests/tools/folder_rule.sh
run "unique file names" unique_names
run "headers compile alone" headers_alone
run cppcheck static_analysis
run "generated data" generated_data
exit $failed
