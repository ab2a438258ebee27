#define XXH_INLINE_ALL
#include "server/phi_names.h"

#include "base/mem.h"
#include "base/utf8.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>
#include <xxhash.h>

#define MAX_WORDS     6 /* of an entry */
#define MIN_ALONE     3 /* letters of a name's word that counts alone */
#define MIN_DIGITS    4 /* of an entry that is a number */
#define MAX_ENTRIES   ((size_t)1 << 24)
#define MAX_BYTES     ((size_t)1 << 30)
#define FOLDED_GROWTH 4 /* bytes of folded text for one of text, and a border a word */
#define BORDER        '\x1f'

/* Sorted. Names that are also words which a clinical text may hold. */
static const char *const ordinary_words[] = {
    "amber",  "april",  "art",    "ash",     "august", "autumn", "bell",    "best",      "bill",
    "bishop", "black",  "blood",  "bone",    "bright", "brook",  "brown",   "burns",     "bush",
    "carter", "case",   "chance", "chase",   "cherry", "chin",   "clay",    "close",     "cold",
    "cook",   "cough",  "cross",  "dale",    "day",    "dean",   "drew",    "early",     "east",
    "faith",  "field",  "fields", "foot",    "forest", "frank",  "free",    "gale",      "ginger",
    "glass",  "golden", "good",   "grace",   "grant",  "gray",   "green",   "grey",      "grove",
    "hale",   "hall",   "hand",   "hands",   "hardy",  "head",   "heath",   "heather",   "high",
    "hill",   "holly",  "hope",   "house",   "hunter", "iris",   "ivy",     "jack",      "jasmine",
    "joy",    "june",   "kidd",   "king",    "knight", "knox",   "lance",   "lane",      "lily",
    "little", "long",   "love",   "low",     "major",  "mark",   "marks",   "marsh",     "may",
    "mercy",  "miles",  "mills",  "mood",    "moon",   "moss",   "newborn", "nick",      "night",
    "noble",  "norm",   "north",  "olive",   "page",   "parker", "pat",     "pearl",     "penny",
    "pepper", "pierce", "pool",   "poppy",   "pounds", "power",  "price",   "quill",     "rain",
    "ray",    "read",   "reed",   "rest",    "rice",   "rich",   "rob",     "robin",     "rod",
    "rose",   "ruby",   "rusty",  "saffron", "sage",   "sallow", "salt",    "sandy",     "sharp",
    "short",  "sky",    "small",  "snow",    "south",  "spring", "star",    "still",     "stone",
    "storm",  "strong", "sue",    "summer",  "swift",  "temple", "trip",    "underwood", "vale",
    "violet", "wade",   "walk",   "walker",  "ward",   "wells",  "west",    "white",     "wild",
    "will",   "winter", "wise",   "wood",    "woods",  "young"};

typedef struct entry {
    uint32_t offset; /* of its folded words in `text` */
    uint32_t n;      /* bytes; 0: the place is free */
    uint8_t kind;
    bool ordinary;
} entry;

struct cp_phi_names {
    bool at_hand;
    entry *table; /* [cap], open addressing, cap a power of two */
    size_t n, cap;
    cp_strbuf text;
};

/* ---- words ------------------------------------------------------------------------------------
 */

typedef struct word {
    size_t start, end;    /* in the text */
    size_t folded, n;     /* in the folded text */
    bool capital, digits; /* starts with a capital; has only digits */
} word;

typedef struct words {
    word *items;
    size_t n, cap;
    cp_strbuf folded; /* the words without case and accents, each followed by BORDER */
} words;

static bool is_word_part(utf8proc_category_t c) {
    return (c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_NO) && c != UTF8PROC_CATEGORY_NL &&
           c != UTF8PROC_CATEGORY_NO;
}

static void fold(cp_strbuf *out, uint32_t c) {
    utf8proc_int32_t parts[16];
    char bytes[4];
    int bound = 0;
    utf8proc_ssize_t n = utf8proc_decompose_char(
        (utf8proc_int32_t)c, parts, 16,
        UTF8PROC_DECOMPOSE | UTF8PROC_CASEFOLD | UTF8PROC_STRIPMARK | UTF8PROC_STABLE, &bound);
    for (utf8proc_ssize_t i = 0; i < n && i < 16; i++)
        cp_strbuf_append(out, bytes, cp_utf8_encode((uint32_t)parts[i], bytes));
}

/* False without memory. */
static bool add_char(words *w, size_t at, const cp_utf8_step *step, bool *inside) {
    utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)step->code_point);
    bool part = step->valid && is_word_part(category);
    if (part && !*inside) {
        if (!cp_grow((void **)&w->items, &w->cap, w->n + 1, sizeof *w->items))
            return false;
        w->items[w->n++] = (word){.start = at,
                                  .folded = w->folded.n,
                                  .capital = category == UTF8PROC_CATEGORY_LU,
                                  .digits = true};
    }
    word *last = w->n > 0 ? &w->items[w->n - 1] : NULL;
    if (part) {
        fold(&w->folded, step->code_point);
        last->end = at + step->n_bytes;
        last->n = w->folded.n - last->folded;
        last->digits = last->digits && category == UTF8PROC_CATEGORY_ND;
    } else if (*inside) {
        cp_strbuf_putc(&w->folded, BORDER);
    }
    *inside = part;
    return w->folded.failed == CP_OK;
}

static bool split_words(cp_str text, words *w) {
    bool inside = false, good = true;
    *w = (words){0};
    cp_strbuf_init(&w->folded, FOLDED_GROWTH * text.n + 64);
    for (size_t i = 0; i < text.n && good;) {
        cp_utf8_step step = cp_utf8_decode(text.data + i, text.n - i);
        good = add_char(w, i, &step, &inside);
        i += step.n_bytes;
    }
    return good;
}

static void free_words(words *w) {
    free(w->items);
    cp_strbuf_deinit(&w->folded);
}

/* Words i to i + n - 1 as they stand in the folded text. */
static cp_str run_of(const words *w, size_t i, size_t n) {
    const word *last = &w->items[i + n - 1];
    return (cp_str){w->folded.data + w->items[i].folded,
                    last->folded + last->n - w->items[i].folded};
}

/* ---- the table --------------------------------------------------------------------------------
 */

static entry *find(const cp_phi_names *names, cp_str run) {
    size_t mask = names->cap - 1, at = XXH3_64bits(run.data, run.n) & mask;
    for (;; at = (at + 1) & mask) {
        entry *e = &names->table[at];
        if (e->n == 0 ||
            (e->n == run.n && memcmp(names->text.data + e->offset, run.data, run.n) == 0))
            return e;
    }
}

static bool make_room(cp_phi_names *names) {
    if (names->cap > 0 && 2 * (names->n + 1) <= names->cap)
        return true;
    cp_phi_names larger = *names;
    larger.cap = names->cap > 0 ? 2 * names->cap : 64;
    if (larger.cap > MAX_ENTRIES)
        return false;
    larger.table = calloc(larger.cap, sizeof *larger.table);
    if (!larger.table)
        return false;
    for (size_t i = 0; i < names->cap; i++) {
        const entry *e = &names->table[i];
        if (e->n > 0)
            *find(&larger, (cp_str){names->text.data + e->offset, e->n}) = *e;
    }
    free(names->table);
    *names = larger;
    return true;
}

static int compare_words(const void *key, const void *item) {
    const cp_str *run = key;
    const char *w = *(const char *const *)item;
    int order = strncmp(run->data, w, run->n);
    return order != 0 ? order : w[run->n] ? -1 : 0;
}

static cp_status insert(cp_phi_names *names, cp_phi_kind kind, cp_str run, cp_error *err) {
    if (!make_room(names))
        return cp_error_no_memory(err, "index of names");
    entry *e = find(names, run);
    if (e->n > 0)
        return CP_OK;
    size_t offset = names->text.n;
    cp_strbuf_append(&names->text, run.data, run.n);
    cp_status status = cp_strbuf_check(&names->text, "index of names", err);
    if (status != CP_OK)
        return status;
    bool ordinary = bsearch(&run, ordinary_words, CP_COUNT_OF(ordinary_words),
                            sizeof *ordinary_words, compare_words) != NULL;
    *e = (entry){.offset = (uint32_t)offset,
                 .n = (uint32_t)run.n,
                 .kind = (uint8_t)kind,
                 .ordinary = ordinary};
    names->n++;
    return CP_OK;
}

cp_status cp_phi_names_create(bool at_hand, cp_phi_names **out, cp_error *err) {
    *out = calloc(1, sizeof **out);
    if (!*out)
        return cp_error_no_memory(err, "index of names");
    (*out)->at_hand = at_hand;
    cp_strbuf_init(&(*out)->text, MAX_BYTES);
    return CP_OK;
}

void cp_phi_names_free(cp_phi_names *names) {
    if (!names)
        return;
    cp_strbuf_deinit(&names->text);
    free(names->table);
    free(names);
}

size_t cp_phi_names_n(const cp_phi_names *names) {
    return names->n;
}

/* ---- adding -----------------------------------------------------------------------------------
 */

/* Too short to tell anybody apart, and too common in a text. */
static bool is_telling(const words *w, size_t n) {
    size_t bytes = 0;
    bool digits = true;
    for (size_t i = 0; i < n; i++) {
        bytes += w->items[i].n;
        digits = digits && w->items[i].digits;
    }
    return bytes >= (digits ? MIN_DIGITS : MIN_ALONE);
}

cp_status cp_phi_names_add(cp_phi_names *names, cp_phi_kind kind, const char *text, cp_error *err) {
    words w;
    cp_status status = CP_OK;
    bool good = split_words((cp_str){text, strlen(text)}, &w);
    if (!good)
        status = cp_error_no_memory(err, "index of names");
    size_t n = w.n < MAX_WORDS ? w.n : MAX_WORDS;
    if (good && n > 0 && is_telling(&w, n))
        status = insert(names, kind, run_of(&w, 0, n), err);
    for (size_t i = 0; good && n > 1 && kind == CP_PHI_NAME && i < w.n && status == CP_OK; i++)
        if (w.items[i].n >= MIN_ALONE)
            status = insert(names, kind, run_of(&w, i, 1), err);
    free_words(&w);
    return status;
}

static cp_phi_kind kind_of_key(const char *key) {
    static const struct {
        const char *key;
        cp_phi_kind kind;
    } keys[] = {
        {"mrn", CP_PHI_MRN},
        {"name", CP_PHI_NAME},
        {"aliases", CP_PHI_NAME},
        {"maiden_name", CP_PHI_NAME},
        {"contacts", CP_PHI_NAME},
        {"emergency_contact", CP_PHI_NAME},
        {"next_of_kin", CP_PHI_NAME},
        {"guardian", CP_PHI_NAME},
        {"address", CP_PHI_PLACE},
        {"date_of_birth", CP_PHI_DATE},
        {"due_date", CP_PHI_DATE},
        {"phone", CP_PHI_PHONE},
        {"mobile", CP_PHI_PHONE},
        {"telecom", CP_PHI_PHONE},
        {"fax", CP_PHI_FAX},
        {"email", CP_PHI_EMAIL},
        {"ssn", CP_PHI_SSN},
        {"insurance", CP_PHI_HEALTH_PLAN},
        {"insurance_id", CP_PHI_HEALTH_PLAN},
        {"member_id", CP_PHI_HEALTH_PLAN},
        {"health_plan_id", CP_PHI_HEALTH_PLAN},
        {"account", CP_PHI_ACCOUNT},
        {"account_number", CP_PHI_ACCOUNT},
        {"license", CP_PHI_LICENCE},
        {"licence", CP_PHI_LICENCE},
        {"vehicle", CP_PHI_VEHICLE},
        {"devices", CP_PHI_DEVICE},
        {"device_serial", CP_PHI_DEVICE},
        {"url", CP_PHI_URL},
        {"photo", CP_PHI_PHOTO},
        {"id", CP_PHI_OTHER},
        {"identifiers", CP_PHI_OTHER},
        {"username", CP_PHI_OTHER},
    };
    for (size_t i = 0; key && i < CP_COUNT_OF(keys); i++)
        if (strcmp(key, keys[i].key) == 0)
            return keys[i].kind;
    return CP_PHI_NONE;
}

/* Members that say something about their neighbours and identify nobody. */
static bool is_harmless_key(const char *key) {
    static const char *const keys[] = {"state", "country", "use",    "system",
                                       "type",  "kind",    "status", "relationship"};
    for (size_t i = 0; key && i < CP_COUNT_OF(keys); i++)
        if (strcmp(key, keys[i]) == 0)
            return true;
    return false;
}

/* Every text below `node`; a member that has a kind of its own (a contact's phone) takes that. The
 * depth is that of a tree which has passed cp_json_parse. */
static cp_status add_texts(cp_phi_names *names, cp_phi_kind kind, const cJSON *node,
                           cp_error *err) {
    const cJSON *child;
    cp_phi_kind own = kind_of_key(node->string);
    if (is_harmless_key(node->string))
        return CP_OK;
    kind = own != CP_PHI_NONE ? own : kind;
    if (cJSON_IsString(node))
        return cp_phi_names_add(names, kind, node->valuestring, err);
    cp_status status = CP_OK;
    cJSON_ArrayForEach(child, node) if (status == CP_OK) status =
        add_texts(names, kind, child, err);
    return status;
}

cp_status cp_phi_names_add_patient(cp_phi_names *names, const cJSON *patient, cp_error *err) {
    const cJSON *member;
    cp_status status = CP_OK;
    cJSON_ArrayForEach(member,
                       patient) if (status == CP_OK && kind_of_key(member->string) != CP_PHI_NONE)
        status = add_texts(names, CP_PHI_NAME, member, err);
    return status;
}

/* ---- finding ----------------------------------------------------------------------------------
 */

static bool counts(const cp_phi_names *names, const entry *e, const word *first) {
    return e->n > 0 && (!e->ordinary || names->at_hand || first->capital);
}

void cp_phi_names_paint(const cp_phi_names *names, cp_str text, uint8_t *kinds) {
    words w;
    if (names->cap == 0)
        return;
    bool good = split_words(text, &w);
    for (size_t i = 0; i < w.n; i++)
        for (size_t n = 1; n <= MAX_WORDS && i + n <= w.n; n++) {
            const entry *e = find(names, run_of(&w, i, n));
            if (!counts(names, e, &w.items[i]))
                continue;
            for (size_t at = w.items[i].start; at < w.items[i + n - 1].end; at++)
                kinds[at] = kinds[at] == CP_PHI_NONE ? e->kind : kinds[at];
        }
    if (!good) /* no memory: what was not looked up is masked */
        for (size_t at = w.n > 0 ? w.items[w.n - 1].start : 0; at < text.n; at++)
            kinds[at] = kinds[at] == CP_PHI_NONE ? CP_PHI_NAME : kinds[at];
    free_words(&w);
}
