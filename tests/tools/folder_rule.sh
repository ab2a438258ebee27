#!/bin/sh
# The folder rule of docs/architecture.md: each folder includes only what stands below it, and outsiders
# include a module's public headers only.
set -eu
bad=0

# allow FOLDER "FOLDERS IT MAY INCLUDE FROM"
allow() {
    for file in "$1"/*.[ch] "$1"/*/*.[ch]; do
        [ -e "$file" ] || continue
        for included in $(sed -n 's/^#include "\([^"]*\)".*/\1/p' "$file"); do
            folder=${included%%/*}
            case " $2 " in
            *" $folder "*) ;;
            *)
                echo "$file: includes $included, but $1/ may include only: $2" >&2
                bad=1
                ;;
            esac
        done
    done
}

# only FOLDER "HEADERS THAT OUTSIDERS MAY INCLUDE" ["FOLDER: HEADERS THAT THIS ONE MAY INCLUDE, TOO"]
only() {
    for file in $(find base hub tokenizer engine llm retrieval convert bench server cli -name '*.[ch]' -not -path "$1/*"); do
        more=
        [ "${3:-}" != "" ] && [ "${file%%/*}" = "${3%%:*}" ] && more=${3#*:}
        for included in $(sed -n "s|^#include \"\($1/[^\"]*\)\".*|\1|p" "$file"); do
            case " $2 $more " in
            *" $included "*) ;;
            *)
                echo "$file: includes $included, which is internal to $1/" >&2
                bad=1
                ;;
            esac
        done
    done
}

allow base "base"
allow hub "hub base"
allow tokenizer "tokenizer base"
allow engine "engine base"
allow llm "llm engine tokenizer base"
allow convert "convert hub llm engine tokenizer base"
allow retrieval "retrieval engine base"
allow bench "bench retrieval llm engine tokenizer base"
allow server "server hub retrieval llm engine tokenizer base"
allow cli "cli server retrieval bench convert llm engine tokenizer base"

only hub "hub/catalogue.h hub/hub_pull.h hub/hub_client.h hub/hub_settings.h"
only tokenizer "tokenizer/tokenizer.h tokenizer/commands.h"
only engine "engine/engine.h engine/config.h engine/sampler.h engine/sysinfo.h engine/safetensors.h engine/kv_pool.h engine/vector_search.h" \
    "convert: engine/quant.h engine/checkpoint.h engine/threads.h"
only llm "llm/llm.h llm/constraint.h llm/scheduler.h llm/commands.h llm/text_batch.h llm/embedder.h llm/reranker.h"
exit $bad
