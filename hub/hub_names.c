#include "hub/hub_names.h"

#include <string.h>

#define PART_MAX 96

static bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("._-", c));
}

/* One part of a path: letters, digits, "._-"; no dot or dash before it. */
static bool is_part(cp_str part, size_t max) {
    if (part.n == 0 || part.n > max || part.data[0] == '.' || part.data[0] == '-')
        return false;
    for (size_t i = 0; i < part.n; i++)
        if (!is_letter(part.data[i]) ||
            (part.data[i] == '.' && i + 1 < part.n && part.data[i + 1] == '.'))
            return false;
    return true;
}

/* At most `max_parts` parts between slashes. */
static bool are_parts(const char *text, size_t max_parts, size_t max) {
    for (size_t n = 0; n < max_parts; n++) {
        size_t length = strcspn(text, "/");
        if (!is_part((cp_str){text, length}, max))
            return false;
        if (!text[length])
            return true;
        text += length + 1;
    }
    return false;
}

cp_status cp_hub_check_repo(const char *repo, cp_error *err) {
    /* "--" stands for the slash in the cache's folders. */
    if (strlen(repo) <= CP_HUB_REPO_MAX && are_parts(repo, 2, PART_MAX) && !strstr(repo, "--"))
        return CP_OK;
    return cp_error_set(err, CP_ERR_USAGE,
                        "\"%.64s\" is no repository, expected ORGANISATION/NAME as in "
                        "Qwen/Qwen3-4B-Thinking-2507",
                        repo);
}

cp_status cp_hub_check_revision(const char *revision, cp_error *err) {
    if (strlen(revision) <= CP_HUB_REVISION_MAX && are_parts(revision, 8, CP_HUB_REVISION_MAX))
        return CP_OK;
    return cp_error_set(err, CP_ERR_USAGE,
                        "\"%.64s\" is no revision, expected a branch, a tag or a commit's 40 "
                        "digits",
                        revision);
}

bool cp_hub_is_file_name(cp_str name) {
    return is_part(name, CP_HUB_FILE_CAP - 1);
}

static bool is_hex(cp_str text, size_t n) {
    if (text.n != n)
        return false;
    for (size_t i = 0; i < n; i++)
        if (!((text.data[i] >= '0' && text.data[i] <= '9') ||
              (text.data[i] >= 'a' && text.data[i] <= 'f')))
            return false;
    return true;
}

bool cp_hub_is_commit(cp_str text) {
    return is_hex(text, CP_HUB_COMMIT_CAP - 1);
}

bool cp_hub_is_hash(cp_str text) {
    return is_hex(text, CP_HUB_HASH_CAP - 1) || is_hex(text, CP_HUB_COMMIT_CAP - 1);
}
