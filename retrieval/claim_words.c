#include "retrieval/claim_words.h"

#include "base/mem.h"

#include <string.h>

const char *const cp_claim_medicines[] = {"insulin",
                                          "heparin",
                                          "ticagrelor",
                                          "diltiazem",
                                          "verapamil",
                                          "digoxin",
                                          "mirtazapine",
                                          "amitriptyline",
                                          "bupropion",
                                          "trazodone",
                                          "quetiapine",
                                          "olanzapine",
                                          "risperidone",
                                          "fentanyl",
                                          "ketamine",
                                          "topiramate",
                                          "phenobarbital",
                                          "budesonide",
                                          "loperamide",
                                          "diphenhydramine",
                                          "cetirizine",
                                          "loratadine",
                                          "pseudoephedrine",
                                          "dextromethorphan",
                                          "guaifenesin",
                                          "bismuth subsalicylate",
                                          "melatonin",
                                          "hydroxychloroquine",
                                          "ivermectin",
                                          "dextrose",
                                          "acetaminophen=paracetamol",
                                          "albuterol=salbutamol",
                                          "epinephrine=adrenaline",
                                          "glyburide=glibenclamide",
                                          "furosemide=frusemide",
                                          NULL};

const char *const cp_claim_diagnoses[] = {
    "heart attack=myocardial infarction",
    "stroke",
    "mini stroke=transient ischemic attack=transient ischaemic attack",
    "heart failure",
    "angina",
    "pneumonia",
    "sepsis",
    "asthma",
    "copd=chronic obstructive pulmonary disease",
    "diabetes",
    "hypertension=high blood pressure",
    "hypotension=low blood pressure",
    "pulmonary embolism",
    "deep vein thrombosis=dvt",
    "blood clot",
    "aortic dissection",
    "aneurysm",
    "anaphylaxis",
    "hypoglycemia=hypoglycaemia=low blood sugar",
    "hyperglycemia=hyperglycaemia=high blood sugar",
    "ketoacidosis",
    "kidney stone",
    "kidney failure",
    "kidney disease",
    "urinary tract infection=uti",
    "ectopic pregnancy",
    "pre eclampsia=preeclampsia",
    "miscarriage",
    "concussion",
    "fracture",
    "migraine",
    "epilepsy",
    "dementia",
    "depression",
    "cancer",
    "tumor=tumour",
    "leukemia=leukaemia",
    "anemia=anaemia",
    "gout",
    "shingles",
    "measles",
    "influenza=flu",
    "covid=covid 19",
    "tuberculosis",
    "glaucoma",
    "testicular torsion",
    "hernia",
    "cirrhosis",
    "atrial fibrillation",
    "arrhythmia",
    "dehydration",
    "malaria",
    "strep throat",
    "hypothyroidism",
    "hyperthyroidism",
    "internal bleeding",
    "brain bleed",
    NULL};

const char *const cp_claim_allergens[] = {
    "peanut", "nut",    "tree nut",   "egg", "milk", "shellfish",       "fish",         "wheat",
    "soy",    "sesame", "latex",      "bee", "wasp", "bee sting",       "pollen",       "sulfa",
    "iodine", "gluten", "strawberry", "cat", "mold", "house dust mite", "contrast dye", NULL};

static bool is_one_of(cp_str word, const char *const *list) {
    for (; *list; list++)
        if (cp_str_is(word, *list))
            return true;
    return false;
}

bool cp_claim_is_everyday(cp_str name) {
    static const char *const everyday[] = {"fall",     "focal",       "pregnancy", "coronary",
                                           "prostate", "cholesterol", "lipid",     NULL};
    return is_one_of(name, everyday);
}

static bool ends_with(cp_str word, const char *ending) {
    size_t n = strlen(ending);
    return word.n >= n && memcmp(word.data + word.n - n, ending, n) == 0;
}

cp_str cp_claim_word(cp_str folded) {
    if (folded.n >= 4 && folded.data[folded.n - 1] == 's' && !ends_with(folded, "ss") &&
        !ends_with(folded, "us") && !ends_with(folded, "is"))
        folded.n--;
    return folded;
}

static bool has_ending(cp_str word, const char *const *endings) {
    for (; *endings; endings++)
        if (word.n >= strlen(*endings) + 3 && ends_with(word, *endings))
            return true;
    return false;
}

/* Endings of the international names. Each has been held against the texts in data/ and a list of
 * English words; "-pril" needs three letters before it because of April. */
bool cp_claim_sounds_like_medicine(cp_str word) {
    static const char *const endings[] = {
        "cillin",    "pril",    "sartan",    "statin",   "olol",    "azole",    "mycin",
        "floxacin",  "gliptin", "gliflozin", "glutide",  "prazole", "triptan",  "parin",
        "xaban",     "cycline", "dipine",    "thiazide", "semide",  "oxetine",  "zepam",
        "zolam",     "profen",  "fenac",     "coxib",    "setron",  "lukast",   "buterol",
        "meterol",   "moterol", "tropium",   "asone",    "solone",  "ciclovir", "cyclovir",
        "dronate",   "gatran",  "tadine",    "tidine",   "codone",  "nafil",    "dafil",
        "glitazone", "traline", "talopram",  "tinib",    "zumab",   "ximab",    "limumab",
        NULL};
    return has_ending(word, endings);
}

bool cp_claim_sounds_like_diagnosis(cp_str word) {
    static const char *const endings[] = {"itis", "aemia", NULL};
    return has_ending(word, endings);
}

cp_claim_unit cp_claim_unit_of(cp_str word) {
    static const cp_claim_unit units[] = {{"mcg", "mass", 1e3},
                                          {"\xce\xbcg", "mass", 1e3},
                                          {"ug", "mass", 1e3},
                                          {"microgram", "mass", 1e3},
                                          {"mg", "mass", 1e6},
                                          {"milligram", "mass", 1e6},
                                          {"g", "mass", 1e9},
                                          {"gram", "mass", 1e9},
                                          {"ng", "mass", 1},
                                          {"ml", "volume", 1e6},
                                          {"milliliter", "volume", 1e6},
                                          {"millilitre", "volume", 1e6},
                                          {"l", "volume", 1e9},
                                          {"liter", "volume", 1e9},
                                          {"litre", "volume", 1e9},
                                          {"unit", "unit", 1e6},
                                          {"iu", "unit", 1e6},
                                          {"u", "unit", 1e6},
                                          {"puff", "puff", 1e6},
                                          {"tablet", "tablet", 1e6},
                                          {"pill", "tablet", 1e6},
                                          {"capsule", "capsule", 1e6},
                                          {"drop", "drop", 1e6},
                                          {"spray", "spray", 1e6},
                                          {"patch", "patch", 1e6},
                                          {"mmol", "mmol", 1e6},
                                          {"meq", "meq", 1e6},
                                          {"teaspoon", "teaspoon", 1e6},
                                          {"tablespoon", "tablespoon", 1e6},
                                          {"%", "%", 1e6}};
    for (size_t i = 0; i < CP_COUNT_OF(units); i++)
        if (cp_str_is(word, units[i].word))
            return units[i];
    return (cp_claim_unit){NULL, NULL, 0};
}

double cp_claim_number_word(cp_str word) {
    static const char *const numbers[] = {"one",   "two",   "three", "four", "five",   "six",
                                          "seven", "eight", "nine",  "ten",  "eleven", "twelve"};
    for (size_t i = 0; i < CP_COUNT_OF(numbers); i++)
        if (cp_str_is(word, numbers[i]))
            return (double)i + 1;
    return cp_str_is(word, "half") ? 0.5 : -1;
}

const char *cp_claim_period(cp_str word) {
    static const struct {
        const char *word, *period;
    } periods[] = {{"daily", "day"},    {"day", "day"},       {"weekly", "week"},
                   {"week", "week"},    {"monthly", "month"}, {"month", "month"},
                   {"hour", "hour"},    {"hourly", "hour"},   {"night", "day"},
                   {"minute", "minute"}};
    for (size_t i = 0; i < CP_COUNT_OF(periods); i++)
        if (cp_str_is(word, periods[i].word))
            return periods[i].period;
    return NULL;
}

bool cp_claim_is_vague(cp_str word) {
    static const char *const vague[] = {
        "it",      "medicine", "medication", "drug",   "food",      "them",       "this",
        "that",    "these",    "those",      "any",    "anything",  "something",  "other",
        "certain", "some",     "one",        "either", "treatment", "ingredient", "insect",
        "which",   "what",     "component",  "you",    "your",      "such",       NULL};
    return is_one_of(word, vague);
}
