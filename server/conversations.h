/* What was said earlier: the turns of conversations, and what the rules noted in them.
 *
 * A conversation is found by API key, patient and session_id together, each in a field of its own
 * and compared whole: whoever differs in one of them finds an empty one. It ends when nobody has
 * gone on with it for ttl_s. What the rules noted in any conversation of a key about a patient
 * outlives it, as notes, for notes_ttl_s each. All of it is in memory only, bounded by max_bytes:
 * then what rested longest goes, of the key that holds most, so that no key drives out another's.
 * What goes is wiped. Any thread; one lock, held for copies. The time is the caller's. */
#ifndef CP_SERVER_CONVERSATIONS_H
#define CP_SERVER_CONVERSATIONS_H

#include "server/access_keys.h"
#include "server/patient_record.h"
#include "server/safety.h"

#include <stdint.h>

#define CP_SESSION_ID_CAP              65
#define CP_CONVERSATION_TURNS          12   /* the newest; flags of older ones stay */
#define CP_CONVERSATION_QUESTION_BYTES 4096 /* of a turn; longer ones are cut */
#define CP_CONVERSATION_ANSWER_BYTES   2048
/* Rules above this are everyday complaints and requests: not worth a note. */
#define CP_CONVERSATION_LEAST_NOTE 4

typedef struct cp_conversations cp_conversations;

typedef struct cp_conversations_options {
    size_t max_bytes;
    int64_t ttl_s, notes_ttl_s; /* ttl_s 0: nothing is kept; notes_ttl_s 0: no notes */
} cp_conversations_options;

typedef struct cp_moment {
    uint64_t ns;    /* cp_clock_ns: never goes back */
    int64_t unix_s; /* for dates */
} cp_moment;
cp_moment cp_moment_now(void);

/* Fields are filled with zeros behind their texts. */
typedef struct cp_conversation_key {
    char owner[CP_KEY_ID_CAP]; /* the API key's id; "" without keys */
    char mrn[CP_MRN_CAP];
    char session[CP_SESSION_ID_CAP]; /* "" stands for the patient: notes */
} cp_conversation_key;
/* CP_ERR_LIMIT when a text is too long. `session_id` may be NULL. */
cp_status cp_conversation_key_make(const char *owner, const char *mrn, const char *session_id,
                                   cp_conversation_key *out, cp_error *err) CP_MUST_CHECK;

/* Texts are UTF-8 as they came, NUL-terminated. */
typedef struct cp_conversation_turn {
    int acuity;                    /* what was answered; CP_ACUITY_NONE */
    const char *question, *answer; /* answer "": the rules spoke alone */
} cp_conversation_turn;

typedef struct cp_conversation_note {
    const cp_safety_rule *rule; /* borrowed from the rules */
    cp_moment at;               /* when it fired last */
} cp_conversation_note;

/* A copy of what is known. */
typedef struct cp_conversation {
    cp_conversation_turn turns[CP_CONVERSATION_TURNS]; /* oldest first */
    size_t n_turns, n_dropped;                         /* older ones that went for their number */
    cp_conversation_note flags[CP_SAFETY_MAX_HITS]; /* warnings of all turns, most urgent first */
    size_t n_flags;
    cp_conversation_note notes[CP_SAFETY_MAX_HITS]; /* on this patient, by this key; newest first */
    size_t n_notes;
} cp_conversation;
void cp_conversation_deinit(cp_conversation *conversation); /* wipes it */

cp_status cp_conversations_create(const cp_conversations_options *options, cp_conversations **out,
                                  cp_error *err) CP_MUST_CHECK;
void cp_conversations_free(cp_conversations *all); /* NULL is allowed */

/* With session "" the notes alone. Release with deinit, also after failure (CP_ERR_NO_MEMORY). A
 * conversation that is read goes on: its time begins anew. */
cp_status cp_conversations_read(cp_conversations *all, const cp_conversation_key *key,
                                cp_moment now, cp_conversation *out, cp_error *err) CP_MUST_CHECK;
/* The warnings of `finding` are the conversation's from here on, and what is worth a note is one.
 * Done before the answer, so that it holds whatever becomes of that. */
cp_status cp_conversations_note(cp_conversations *all, const cp_conversation_key *key,
                                cp_moment now, const cp_safety_finding *finding,
                                cp_error *err) CP_MUST_CHECK;
/* Copies the turn, texts cut to what is kept. */
cp_status cp_conversations_add(cp_conversations *all, const cp_conversation_key *key, cp_moment now,
                               const cp_conversation_turn *turn, cp_error *err) CP_MUST_CHECK;
/* Ends what has expired: to be called every few seconds. (It is not found before that either.) */
void cp_conversations_sweep(cp_conversations *all, cp_moment now);

typedef struct cp_conversations_stats {
    size_t n_conversations, n_patients; /* with turns or flags; with notes */
    size_t n_bytes;
    uint64_t n_expired, n_evicted; /* conversations and patients */
} cp_conversations_stats;
cp_conversations_stats cp_conversations_get_stats(cp_conversations *all);

#endif
