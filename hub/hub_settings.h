/* Where models come from and where they are kept: the variables that tools of the Hugging Face hub
 * share.
 *
 *     HF_ENDPOINT       the hub; https, or http on this machine (default https://huggingface.co)
 *     HF_TOKEN          then HUGGINGFACE_TOKEN, HUGGING_FACE_HUB_TOKEN, then the file that
 *                       HF_TOKEN_PATH names (default HF_HOME/token)
 *     HF_HOME           default XDG_CACHE_HOME/huggingface, else ~/.cache/huggingface
 *     HF_HUB_CACHE      then HUGGINGFACE_HUB_CACHE (default HF_HOME/hub)
 *     HF_HUB_OFFLINE    1, on, yes or true: ask nobody
 *
 * An empty variable counts as unset. The token is never in an error. */
#ifndef CP_HUB_HUB_SETTINGS_H
#define CP_HUB_HUB_SETTINGS_H

#include "base/file.h"

#define CP_HUB_TOKEN_CAP 512

typedef struct cp_hub_settings {
    char endpoint[512];           /* without a slash at its end */
    char cache[CP_PATH_CAP];      /* the folder of all repositories */
    char token[CP_HUB_TOKEN_CAP]; /* "" for none */
    bool offline;
    bool is_local; /* the endpoint is http on this machine */
} cp_hub_settings;

cp_status cp_hub_settings_read(cp_hub_settings *out, char *(*get)(const char *name),
                               cp_error *err) CP_MUST_CHECK;
/* Takes a token from a person: blanks around it are dropped. */
cp_status cp_hub_settings_set_token(cp_hub_settings *settings, const char *from, const char *token,
                                    cp_error *err) CP_MUST_CHECK;
void cp_hub_settings_wipe(cp_hub_settings *settings);

/* May a request go there: https anywhere; http on this machine, from a hub that is there, too. */
bool cp_hub_may_ask(const cp_hub_settings *settings, bool tls, const char *host);

#endif
