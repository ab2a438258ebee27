#define PCRE2_CODE_UNIT_WIDTH 8
#include "server/phi_patterns.h"

#include "base/mem.h"

#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

#define HEAP_KIB    65536
#define MATCH_LIMIT 1000000 /* steps of one match; a bounded pattern needs far fewer */

/* ---- the parts of patterns --------------------------------------------------------------------
 */

/* Case does not matter but in what stands in (?-i:...). */
#define MONTH                                                                                      \
    "(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|"             \
    "sep(?:t(?:ember)?)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\\b\\.?"
#define WEEKDAY "(?:mon|tues?|wed(?:nes)?|thu(?:rs)?|fri|sat(?:ur)?|sun)(?:day)?\\b\\.?,? {0,2}"
#define DAY     "(?:0?[1-9]|[12][0-9]|3[01])"
#define ORDINAL DAY "(?:st|nd|rd|th)?"
#define MON     "(?:0?[1-9]|1[0-2])"
#define YEAR    "(?:1[89]|20)[0-9]{2}"
#define CLOCK                                                                                      \
    "(?:[T ][012]?[0-9]:[0-5][0-9](?::[0-5][0-9](?:\\.[0-9]{1,9})?)?(?: ?[ap]m)?"                  \
    "(?:Z|[+-][0-9]{2}:?[0-9]{2})?)?"
/* A word of a name: capital, letters, inner apostrophes and hyphens. */
#define NAME    "(?-i:\\p{Lu}[\\p{L}\\p{M}'’-]{1,40})"
#define INITIAL "(?-i:\\p{Lu}\\.)"
#define NAMES   "(?:(?:" NAME "|" INITIAL ")(?: (?:" NAME "|" INITIAL ")){0,3})"
/* A word that a sentence may start with and that is no name behind "from", "in", ... */
#define NO_NAME                                                                                    \
    "(?!(?:the|a|an|this|that|my|his|her|their|our|it|she|he|we|they|and|or|pain|no|not|" MONTH    \
    "|" WEEKDAY ")\\b)"
/* What stands between a label and its number. */
#define AFTER_LABEL                                                                                \
    "(?: ?(?:numbers?|num|nos?|nr|ids?|code|ref|is|was))?(?: ending(?: in)?| \\(last "             \
    "(?:4|four)\\))?"                                                                              \
    "(?: is)?\\.? {0,2}[:=#]{0,2} {0,2}#? ?"
/* Behind a number: then it is a measure. */
#define UNIT                                                                                        \
    "(?:%|mg|mcg|[uµ]g|g|kg|m?l|dl|iu|units?|u|m?mol|meq|mm|cm|m|hg|mmhg|bpm|x|times|th|st|nd|rd|" \
    "k|hz|db|ms|cells?|copies|s|sec(?:onds?)?|min(?:utes?)?|h|hrs?|hours?|d|days?|w|wks?|weeks?|"   \
    "months?|y|yrs?|years?|yo|tab(?:let)?s?|pills?|puffs?|doses?|drops?|tokens?|bytes?|patients?)"
/* A number of any form: a run of two characters or more with a digit in it, perhaps after and
 * before short groups in capitals. */
#define CODE                                                                                       \
    "(?![0-9.,/-]{1,12} ?" UNIT "(?!\\w))"                                                         \
    "((?:(?-i:[A-Z0-9-]{1,6}) ){0,3}(?=[^\\s]{0,60}[0-9])[\\w*][\\w*/.+-]{0,60}[\\w*]"             \
    "(?: (?-i:[A-Z0-9]{2,5})\\b(?![.,]? ?\\p{Ll})){0,3})"
#define SEPARATOR  "[-./ ‐-―]" /* with the dashes that are no hyphen */
#define PHONE_TAIL "(?: ?(?:x|ext\\.?|extension) ?[0-9]{1,6})?(?![0-9])"
#define PHONE_FORM                                                                                 \
    "(?:\\+?1" SEPARATOR "?)?(?:\\([0-9]{3}\\)[ -]?|[0-9]{3}" SEPARATOR ")[0-9]{3}" SEPARATOR      \
    "[0-9]{4}"
#define PLUS_FORM  "(?:\\+|\\b00)[1-9][0-9]{0,2}(?:[ .()/-]{0,2}[0-9]){6,13}"
#define LOCAL_FORM "[2-9][0-9]{2}[-. ][0-9]{4}(?: [0-9]{3,4})?"
#define ANY_PHONE                                                                                  \
    "(?:" PLUS_FORM "|" PHONE_FORM "|" LOCAL_FORM                                                  \
    "|0[0-9]{2,4} [0-9]{3,8}(?: [0-9]{3,4})?|[0-9]{7,15})"
#define STREET                                                                                     \
    "(?:street|st|avenue|ave|road|rd|lane|ln|row|drive|dr|court|ct|boulevard|blvd|place|pl|"       \
    "terrace|ter|way|circle|cir|square|sq|parkway|pkwy|highway|hwy|close|crescent|gardens|grove|"  \
    "mews|quay|walk|trail|alley|loop|pike|plaza)"
#define STATES                                                                                     \
    "(?-i:A[KLRZ]|C[AOT]|D[CE]|FL|GA|HI|I[ADLN]|K[SY]|LA|M[ADEINOST]|N[CDEHJMVY]|O[HKR]|P[AR]|RI|" \
    "S[CD]|T[NX]|UT|V[AT]|W[AIVY]|EX)"
#define HOSTS "(?:com|org|net|edu|gov|mil|info|biz|io|health|care|clinic|museum|example|invalid)"

typedef struct row {
    cp_phi_kind kind;
    bool needs_digit; /* not tried on texts without one */
    const char *pattern;
} row;

/* In order: the first that paints a byte names its kind. Group 1, where there is one, is what is
 * masked; the label before it stays. */
static const row table[] = {
    /* what has a syntax of its own */
    {CP_PHI_PHOTO, false, "data:image/[\\w.+-]{1,40};base64,[\\w+/=]*+"},
    {CP_PHI_URL, false, "\\b[a-z][a-z0-9+.-]{1,20}://\\S++"},
    {CP_PHI_EMAIL, false, "[\\w.+%'-]{1,64} ?@ ?[\\w-]{1,63}(?:\\.[\\w-]{1,63}){1,6}"},
    {CP_PHI_EMAIL, false,
     "\\b[\\w.+-]{1,64} ?[\\[(]at[\\])] ?[\\w-]{1,63}(?: ?[\\[(]dot[\\])] ?[\\w-]{1,63}){1,4}"},
    {CP_PHI_EMAIL, false, "\\b[\\w.+-]{1,64} at [\\w-]{1,63}(?: dot [\\w-]{1,63}){1,4}\\b"},
    {CP_PHI_URL, false, "\\bwww\\.[\\w-]{1,63}\\.\\S++"},
    {CP_PHI_URL, false,
     "\\b[\\w-]{1,63}(?:\\.[\\w-]{1,63}){0,4}\\." HOSTS "\\b(?![.\\w@])(?:[/?#]\\S*+)?"},
    {CP_PHI_URL, false, "\\b[\\w-]{2,63}(?:\\.[\\w-]{1,63}){0,3}\\.[a-z]{2,3}/[\\w?#=&%.+/-]++"},
    {CP_PHI_DEVICE, true, "\\b(?:[0-9a-f]{2}[:-]){5}[0-9a-f]{2}\\b"},
    {CP_PHI_IP, true,
     "(?<![\\w.])(?:[0-9]{1,3}\\.){3}[0-9]{1,3}(?:[:/][0-9]{1,5})?(?![\\w]|\\.[0-9])"},
    {CP_PHI_IP, false,
     "(?<![\\w:])(?![0-9]{1,2}:[0-9]{2}(?::[0-9]{2})?(?![:\\w]))(?=[:.]{0,2}[0-9a-f])"
     "(?=[0-9a-f.]{0,15}:[0-9a-f.]{0,4}:)(?:[0-9a-f]{0,4}:){2,7}"
     "(?:[0-9]{1,3}(?:\\.[0-9]{1,3}){3}|[0-9a-f]{0,4})(?:%\\w{1,16})?(?:/[0-9]{1,3})?(?![\\w:])"},
    {CP_PHI_OTHER, true, "\\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\\b"},

    /* numbers with a label */
    {CP_PHI_SSN, true,
     "\\b(?:s\\.?s\\.?n\\b|ss ?#|ss no|soc(?:ial)?\\.?(?: sec(?:urity)?\\.?)?(?: "
     "card)?)" AFTER_LABEL "([0-9*xX]{3}" SEPARATOR "?[0-9*xX]{2}" SEPARATOR
     "?[0-9]{4}|[0-9]{4})(?![0-9])"},
    {CP_PHI_SSN, true, "\\bss ?# ?([0-9-]{9,11})"},
    {CP_PHI_SSN, true, "(?<![\\w-])[0-9]{3}[-.‐-―][0-9]{2}[-.‐-―][0-9]{4}(?![\\w-])"},
    {CP_PHI_FAX, true,
     "\\b(?:tele)?(?:fax|facsimile|fx)(?:ed)?\\b(?: over)?(?: to| at)?" AFTER_LABEL
     "(" ANY_PHONE PHONE_TAIL ")"},
    {CP_PHI_MRN, true,
     "\\b(?:m\\.?r\\.?n|(?:medical|med|hospital|chart|patient|unit|health|nhs|emr|ehr|file|folder|"
     "hospital unit|clinic)[ "
     ".-]{0,2}"
     "(?:rec(?:ord)?s?\\.?)? ?(?:numbers?|num|nos?|nr|ids?|#)|chart|record (?:no|number|#)|"
     "medical record)" AFTER_LABEL CODE},
    {CP_PHI_MRN, true, "\\bMRN[-_ ]?[A-Z0-9][\\w.-]{1,31}"},
    {CP_PHI_MRN, true, "\\bnhs" AFTER_LABEL "([0-9]{3} ?[0-9]{3} ?[0-9]{4})\\b"},
    {CP_PHI_LICENCE, true,
     "\\b(?:(?:driver'?s?|driving|medical|nursing|professional|rn|md|pharmacy|state) licen[sc]e|"
     "licen[sc]e(?! plate)|dl|npi|dea|passport|certificat(?:e|ion)|cert)\\b" AFTER_LABEL CODE},
    {CP_PHI_VEHICLE, true,
     "\\b(?:licen[sc]e plate|number plate|plates?|vin|vehicle|reg\\.?(?: no)?|tag|car "
     "reg(?:istration)?|registration)\\b" AFTER_LABEL CODE},
    {CP_PHI_VEHICLE, true,
     "\\b(?=[A-Z]{0,16}[0-9])(?=[0-9]{0,16}[A-Z])(?-i:[A-HJ-NPR-Z0-9]{17})\\b"},
    {CP_PHI_DEVICE, true,
     "\\b(?:serial|s/"
     "n|sn|device|udi|imei|implant|lot|pacemaker|defibrillator|transmitter|sensor|pump "
     "serial|mac)\\b" AFTER_LABEL CODE},
    {CP_PHI_DEVICE, true, "\\(01\\)[0-9]{14}[\\w()/.-]{0,60}"},
    {CP_PHI_BIOMETRIC, false,
     "\\b(?:finger ?prints?|thumb ?prints?|palm ?prints?|retinal?(?: scans?)?|iris(?: scans?)?|"
     "voice ?prints?|face ?id|facial recognition|biometrics?|dna profile|gait)"
     "(?: (?:scan|template|hash|profile|sample|print))?" AFTER_LABEL
     "((?:(?-i:[A-Z]{1,4}) )?(?=[\\w:+/=-]{0,60}[0-9])[\\w:+/=-]{3,400})"},
    {CP_PHI_BIOMETRIC, false,
     "\\b(?:finger ?print|palm ?print|retina|iris|voice ?print|biometric|face)"
     "(?: (?:scan|template|hash|profile|sample|print))? ?[:=] ?([\\w+/=-]{6,}+)"},
    {CP_PHI_PHOTO, false,
     "(?:\\b[\\w-]{1,60} (?=[0-9]{1,6}\\.))?[\\w-]{1,80}\\.(?:jpe?g|png|gif|bmp|tiff?|hei[cf]|webp|"
     "dcm|dicom|mp4|mov|avi)\\b"},
    {CP_PHI_PHOTO, true,
     "\\b(?:photo(?:graph)?s?|pictures?|images?|portraits?|selfies?)\\b" AFTER_LABEL CODE},
    {CP_PHI_HEALTH_PLAN, true,
     "\\b(?:member(?:ship)?|policy(?:holder)?|insurance|insured|group|subscriber|plan|health plan|"
     "beneficiary|medicare|medicaid|payer|hicn|mbi|coverage|hic)\\b(?: beneficiary)?" AFTER_LABEL
     "(?:(?-i:\\p{Lu})\\p{Ll}{2,20} ){0,2}" CODE},
    {CP_PHI_HEALTH_PLAN, true,
     "\\b(?-i:[1-9][A-Z][A-Z0-9][0-9]-?[A-Z][A-Z0-9][0-9]-?[A-Z]{2}[0-9]{2})\\b"},
    {CP_PHI_ACCOUNT, true,
     "\\b(?:(?:bank |billing |patient )?acc(?:oun)?t|a/c|iban|invoice|billing|routing|sort code|"
     "(?:credit |debit )?card|claim)\\b\\.?" AFTER_LABEL CODE},
    {CP_PHI_ACCOUNT, true,
     "\\b(?-i:[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?)\\b"},
    {CP_PHI_ACCOUNT, true, "\\b(?:[0-9]{4}[ -]){3}[0-9]{1,7}\\b"},
    {CP_PHI_OTHER, true,
     "\\b(?:(?:study|employee|student|staff|user|case|encounter|visit|order|trial|session|request|"
     "device|tax|national|voter|badge) "
     "?(?:id|no|number|#)|id|identifier|identification|reference|subject|sample|participant|ticket|"
     "bearer|"
     "confirmation(?: code)?|"
     "ref|accession|specimen|case|token|user ?name|login|handle|rx|prescription|sample "
     "no)\\b" AFTER_LABEL CODE},

    /* dates, and ages over 89 */
    {CP_PHI_DATE, true,
     "\\b" YEAR "-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])" CLOCK "(?![0-9])"},
    {CP_PHI_DATE, true, "\\b" YEAR "[/.]" MON "[/.]" DAY "\\b" CLOCK},
    {CP_PHI_DATE, true,
     "(?<![\\w./-])(?<!apgar )(?<!apgar: )" DAY "([/.-])" DAY "\\1(?:" YEAR
     "|[0-9]{2})(?![\\w/-]|\\.[0-9])" CLOCK},
    {CP_PHI_DATE, true,
     "\\b(?:on|since|until|till|before|after|from|dob|born|dated?|due|seen|visit|by|of|lmp|edd|"
     "period|onset|expires?):? (" MON "/" DAY
     ")(?![\\w/]|\\.[0-9])(?! ?(?:tab|pill|dose|mg|of|or|on a|scale|pain))"},
    {CP_PHI_DATE, true, "(?<![\\w./-])" MON "[-/]" YEAR "(?![\\w/-])"},
    {CP_PHI_DATE, true, "\\b(?:1[89]|20)[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])\\b"},
    {CP_PHI_DATE, true,
     "\\b(?:" WEEKDAY ")?(?:the )?" ORDINAL "(?: of)?[ -]{1,2}" MONTH "(?:[ ,/-]{0,2}" YEAR
     "|-[0-9]{2}\\b)?" CLOCK},
    {CP_PHI_DATE, true,
     "\\b(?:" WEEKDAY ")?" MONTH "[ -]{0,2}(?:the )?" ORDINAL
     "\\b(?!\\.?[0-9])(?! ?(?:mg|ml|times|puffs|"
     "tablets|pills|hours|days|weeks|months|years)\\b)(?:(?:,? {0,2}|[-/])" YEAR ")?" CLOCK},
    {CP_PHI_DATE, true, "\\b" MONTH ",? {0,2}" YEAR "\\b"},
    {CP_PHI_DATE, false,
     "\\b(?:in|since|until|last|next|this|early|late|mid|of|from|by) (?:early |late |mid-?)?"
     "((?-i:January|February|March|April|May|June|July|August|September|October|November|December))"
     "\\b(?! (?:i|we|he|she|it|they|you|be|have|help|not|cause)\\b)"},
    {CP_PHI_DATE, true,
     "\\b(?:9[0-9]|1[0-4][0-9])[ -]?(?:years?|yrs?|y/?o|y\\.o\\.?)\\b(?:[ -](?:olds?|of age)\\b)?"},
    {CP_PHI_DATE, true, "\\b(?:aged?|age:|age is|turned) ((?:9[0-9]|1[0-4][0-9])\\b)(?!\\.[0-9])"},
    {CP_PHI_DATE, true, "\\b(?:9[0-9]|1[0-4][0-9]) ?(?-i:[MF])\\b(?= |,|\\.)"},

    /* phones */
    {CP_PHI_PHONE, true, "(?<![\\w.+])" PLUS_FORM PHONE_TAIL},
    {CP_PHI_PHONE, true, "(?<![\\w.-])" PHONE_FORM PHONE_TAIL},
    {CP_PHI_PHONE, true,
     "\\b(?:phone|tel(?:ephone)?|mobile|cell|pager|call|ring|text|whatsapp|reach)\\b[^0-9+(\\n]{0,"
     "24}"
     "([+(]{0,2}" ANY_PHONE PHONE_TAIL ")"},
    {CP_PHI_PHONE, true, "(?<![\\w./-])[2-9][0-9]{2}-[0-9]{4}(?:-[0-9]{3,4})?" PHONE_TAIL},
    {CP_PHI_PHONE, true, "(?<![\\w./-])555[ .][0-9]{4}(?: [0-9]{3,4})?" PHONE_TAIL},
    {CP_PHI_PHONE, true, "(?<![\\w./-])0[0-9]{2,4}[ /-][0-9]{3,8}(?: [0-9]{3,4})?(?![\\w/-])"},

    {CP_PHI_NAME, false,
     "\\b(" NAMES "),? (?-i:MD|M\\.D\\.|DO|RN|NP|PA-C|PhD|FRCP|LPN|DDS|PharmD)\\b"},

    {CP_PHI_PHONE, true, "(?<![\\w./-])\\(0\\)(?:[ .-]?[0-9]){7,11}\\b"},
    {CP_PHI_PHONE, true,
     "\\b(?:pager|bleep|ext(?:ension)?)\\b\\.? ?(?:no\\.?|#|is)? ?([0-9]{2,7})\\b"},

    /* places */
    {CP_PHI_PLACE, true,
     "\\b[0-9]{1,6}[a-z]? (?:[NSEW]{1,2}\\.? )?(?:(?-i:[\\p{Lu}0-9])[\\w'.-]{0,40} ){1,4}" STREET
     "\\b\\.?(?:,? ?(?:apt|apartment|suite|ste|unit|floor|fl|room|#)\\.? ?#?[\\w-]{1,8})?"},
    {CP_PHI_PLACE, true,
     "\\b[0-9]{1,5}[a-z]?,? (?:rue|avenue|place|boulevard|via|calle|rua|plaza) [\\p{L}' -]{2,60}"},
    {CP_PHI_PLACE, true,
     "(?-i:\\p{Lu})[\\p{L}-]{2,40}(?:stra(?:ß|ss)e|str\\.|weg|platz|gasse|allee) "
     "[0-9]{1,4}[a-z]?\\b"},
    {CP_PHI_PLACE, true, "\\bp\\.? ?o\\.? ?box [0-9]{1,8}\\b"},
    {CP_PHI_PLACE, true, "\\b(?:address|addr)\\b\\.? ?(?:[:=]|is) ?([^\\n;]{3,80})"},
    {CP_PHI_PLACE, true,
     "\\b(?:zip(?: ?code)?|post(?:al)? ?code|postcode)" AFTER_LABEL
     "([A-Z0-9]{2,5}(?:[ -]?[0-9][A-Z0-9]{2,3})?)\\b"},
    {CP_PHI_PLACE, true,
     "\\b(?:" NAME "(?: " NAME "){0,2},? )?" STATES " [0-9]{5}(?:-[0-9]{4})?\\b"},
    {CP_PHI_PLACE, true, "\\b(?-i:[A-Z]{1,2}[0-9][A-Z0-9]? [0-9][A-Z]{2})\\b"},
    {CP_PHI_PLACE, false, "(" NAME "(?: " NAME "){0,2}), ?" STATES "\\b(?= |,|\\.|$)"},
    {CP_PHI_PLACE, false,
     "\\b" NO_NAME NAME "(?: " NAME "){0,2} (?:county|parish|township|borough|district)\\b"},
    {CP_PHI_PLACE, false,
     "\\b(?:lives?|living|lived|resident|resides?|residing|home ?town|born|grew up|moved|visiting|"
     "native)(?: back)? (?:in|of|to|at|near|is) " NO_NAME "(" NAME "(?:[ -]" NAME "){0,3})"},

    /* names that something around them gives away */
    {CP_PHI_NAME, false,
     "\\b(?:mrs?|ms|miss|mx|dr|prof(?:essor)?|sir|madam|doctor|nurse|sister|rev|fr|hon)\\b\\.? "
     "(" NAMES ")"},
    {CP_PHI_NAME, false,
     "\\b(?:(?:patient|full|first|last|family|given|maiden|sur)[ -]?)?name(?: is|'s)?[:= ] ?"
     "((?<=[:=]|[:=] )[\\p{L}'’-]{2,40}(?:,? [\\p{L}'’-]{2,40}){0,2}|" NAMES ")"},
    {CP_PHI_NAME, false,
     "\\b(?:i am|i'm|i’m|this is|called|named|known as|signed(?: by)?,?|regards,?|"
     "sincerely,?) " NO_NAME "(" NAME " " NAMES ")"},
    {CP_PHI_NAME, false,
     "\\b(?:called|named|known as|nicknamed|signed(?: by)?,?) " NO_NAME "(" NAME ")"},
    {CP_PHI_NAME, false,
     "\\b(?:patient|pt|attending|physician|provider|surgeon|referred by|seen by|reviewed by|"
     "dictated by|author|contact|next of kin|guardian|mother|father|husband|wife|partner|caregiver|"
     "carer)(?::| -|,)? " NO_NAME "(" NAME "(?: " NAMES ")?)"},
    {CP_PHI_NAME, false,
     "\\b(?:my|his|her|their|our|the patient's) (?:\\w{1,12} )?(?:son|daughter|child|baby|brother|"
     "sister|mother|father|mum|mom|dad|husband|wife|partner|friend|neighbou?r|aunt|uncle|cousin|"
     "niece|nephew|grand(?:mother|father|son|daughter|ma|pa)|boss|carer|nurse|doctor)s?,? " NO_NAME
     "(" NAMES ")"},

    /* any other unique number */
    {CP_PHI_OTHER, true,
     "\\b(?-i:[A-Z]{2,8})[-_/](?!(?-i:[0-9]{1,3}\\b(?![-/])))(?!19\\b)"
     "(?:[A-Z]{0,4}[0-9]{3,20}|[0-9]{2}[-/])(?:[-/]?\\w{1,20}){0,4}\\b"},
    {CP_PHI_OTHER, true, "\\b(?!CA-)(?-i:[A-Z]{2,8})[-_/][0-9]{3}\\b"},
    {CP_PHI_OTHER, true, "\\b(?-i:[A-Z])-?[0-9]{1,3}-[0-9]{4,20}\\b"},
    {CP_PHI_OTHER, true, "\\b(?-i:[A-Z])-[0-9]{4,20}\\b"},
    {CP_PHI_OTHER, true, "(?<![\\w.,])[0-9]{7,}+(?![\\w,]|\\.[0-9]| ?" UNIT "\\b)"},
    {CP_PHI_OTHER, true, "(?<![\\w.,-])[0-9]{3,6}(?:[ -][0-9]{3,6}){2,4}(?![\\w.,-])"},
    {CP_PHI_OTHER, true,
     "\\b(?=(?:[a-z-]{0,12}[0-9]){5})(?=[0-9-]{0,20}[a-z])[a-z0-9]{1,30}(?:-[a-z0-9]{1,30}){1,5}"
     "\\b"},
    {CP_PHI_OTHER, true,
     "\\b(?![0-9]{1,9}" UNIT "\\b)(?=[a-z_]{0,40}[0-9])(?=[0-9_]{0,40}[a-z])"
     "(?=(?:[a-z_]{0,20}[0-9]){4})[a-z0-9_]{7,}+\\b"},
    /* short, but letters and digits mixed; not the stage of a tumour */
    {CP_PHI_OTHER, true,
     "\\b(?!c?p?T[0-4x])(?![0-9]{1,9}" UNIT "\\b)(?=[A-Z]{0,6}[0-9])(?=[0-9]{0,6}[A-Z])"
     "(?=(?:[A-Z]{0,6}[0-9]){3})(?-i:[A-Z0-9]{6,})\\b"},
    {CP_PHI_OTHER, true, "\\b(?=\\w{0,60}[0-9])(?=\\w{0,60}[a-z])[\\w]{20,}+\\b"},
};

#define N_PATTERNS CP_COUNT_OF(table)

struct cp_phi_patterns {
    pcre2_code *codes[N_PATTERNS];
    bool has_group[N_PATTERNS]; /* a group to mask instead of the whole match */
    pcre2_match_context *limits;
};

/* ---- compiling --------------------------------------------------------------------------------
 */

static cp_status compile(cp_phi_patterns *p, size_t i, cp_error *err) {
    int code;
    PCRE2_SIZE at;
    p->codes[i] = pcre2_compile((PCRE2_SPTR)table[i].pattern, PCRE2_ZERO_TERMINATED,
                                PCRE2_UTF | PCRE2_UCP | PCRE2_CASELESS, &code, &at, NULL);
    if (!p->codes[i])
        return cp_error_set(err, CP_ERR_FORMAT, "pattern %zu of the scrubber: error %d at byte %zu",
                            i, code, (size_t)at);
    (void)pcre2_jit_compile(p->codes[i], PCRE2_JIT_COMPLETE); /* faster where it is allowed */
    return CP_OK;
}

/* The date with a repeated separator has a group for that and is masked as a whole. */
static bool masks_group(const pcre2_code *code) {
    uint32_t groups = 0, references = 0;
    pcre2_pattern_info(code, PCRE2_INFO_CAPTURECOUNT, &groups);
    pcre2_pattern_info(code, PCRE2_INFO_BACKREFMAX, &references);
    return groups > 0 && references == 0;
}

cp_status cp_phi_patterns_create(cp_phi_patterns **out, cp_error *err) {
    *out = NULL;
    cp_phi_patterns *p = calloc(1, sizeof *p);
    if (!p)
        return cp_error_no_memory(err, "patterns");
    p->limits = pcre2_match_context_create(NULL);
    cp_status status = p->limits ? CP_OK : cp_error_no_memory(err, "patterns");
    for (size_t i = 0; i < N_PATTERNS && status == CP_OK; i++) {
        status = compile(p, i, err);
        if (status == CP_OK)
            p->has_group[i] = masks_group(p->codes[i]);
    }
    if (status == CP_OK) {
        pcre2_set_match_limit(p->limits, MATCH_LIMIT);
        pcre2_set_heap_limit(p->limits, HEAP_KIB);
        *out = p;
    } else {
        cp_phi_patterns_free(p);
    }
    return status;
}

void cp_phi_patterns_free(cp_phi_patterns *patterns) {
    if (!patterns)
        return;
    for (size_t i = 0; i < N_PATTERNS; i++)
        pcre2_code_free(patterns->codes[i]);
    pcre2_match_context_free(patterns->limits);
    free(patterns);
}

/* ---- matching ---------------------------------------------------------------------------------
 */

static void paint(uint8_t *kinds, size_t from, size_t to, cp_phi_kind kind) {
    for (size_t at = from; at < to; at++)
        kinds[at] = kinds[at] == CP_PHI_NONE ? (uint8_t)kind : kinds[at];
}

static cp_status paint_pattern(const cp_phi_patterns *p, size_t i, cp_str text,
                               pcre2_match_data *found, uint8_t *kinds) {
    size_t from = 0;
    while (from < text.n) {
        int got = pcre2_match(p->codes[i], (PCRE2_SPTR)text.data, text.n, from, PCRE2_NO_UTF_CHECK,
                              found, p->limits);
        if (got == PCRE2_ERROR_NOMATCH)
            return CP_OK;
        if (got < 0)
            return got == PCRE2_ERROR_NOMEMORY ? CP_ERR_NO_MEMORY : CP_ERR_LIMIT;
        const PCRE2_SIZE *span = pcre2_get_ovector_pointer(found);
        bool group = p->has_group[i] && got > 1 && span[2] != PCRE2_UNSET;
        paint(kinds, span[group ? 2 : 0], span[group ? 3 : 1], table[i].kind);
        from = span[1] > from ? span[1] : from + 1;
    }
    return CP_OK;
}

cp_status cp_phi_patterns_paint(const cp_phi_patterns *patterns, cp_str text, uint8_t *kinds) {
    pcre2_match_data *found = pcre2_match_data_create(4, NULL);
    bool has_digit = false;
    cp_status status = found ? CP_OK : CP_ERR_NO_MEMORY;
    for (size_t i = 0; i < text.n && !has_digit; i++)
        has_digit = text.data[i] >= '0' && text.data[i] <= '9';
    for (size_t i = 0; i < N_PATTERNS && status == CP_OK; i++)
        if (has_digit || !table[i].needs_digit)
            status = paint_pattern(patterns, i, text, found, kinds);
    pcre2_match_data_free(found);
    return status;
}
