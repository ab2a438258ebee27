#!/usr/bin/env python3
"""Writes the retrieval set of CarePath: data/retrieval/questions.jsonl.

Most questions are hand-written in questions.py. From these, the synthetic records and the knowledge base this
script makes the rest: one question for several patients, one for each visit and bill, one for each medicine,
and misspellings. The same seed always gives the same bytes.
"""

import argparse
import datetime
import json
import pathlib
import random
import re
import sys
import zlib

sys.dont_write_bytecode = True
import questions  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
DATA = HERE.parent
LINKED = ["documents", "encounters", "claims", "chat_logs"]
N_MISSPELLED = 60
SAME_WORDS = 0.5  # from this share of a question's words on, it speaks as its document does
STOP_WORDS = set("""
a about after again all am an and any are as at be been before but by can could did do does down for from get give
go had has have he her him his how i if in is it its just may me more must my no not now of on or out over she
should so take than that the them then there they this to too up was we what when where which who why will with you
your
""".split())


def read_jsonl(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def words(text):
    """The words of a text that carry meaning, without their commonest endings."""
    found = re.findall(r"[a-z0-9]+(?:[.'-][a-z0-9]+)*", text.lower())
    return {re.sub(r"(ing|ed|es|s)$", "", w) if len(w) > 4 else w for w in found if w not in STOP_WORDS}


class Corpus:
    """All that can be found: records by id, with their words; documents of the knowledge base have no mrn."""

    def __init__(self):
        self.mrn, self.words, self.text, self.records = {}, {}, {}, {}
        for name in LINKED:
            self.records[name] = read_jsonl(DATA / "synthetic" / f"{name}.jsonl")
            for record in self.records[name]:
                turns = [t["text"] for t in record.get("turns", [])]
                fields = [record.get(f, "") for f in ("title", "text", "reason", "assessment", "plan", "description")]
                self.add(record["id"], record["mrn"], " ".join(fields + turns))
        for path in sorted((DATA / "knowledge").glob("*.md")):
            if path.name != "README.md":
                self.add(f"KB-{path.stem}", None, path.read_text(encoding="utf-8"))
        self.patients = read_jsonl(DATA / "synthetic" / "patients.jsonl")
        self.specialty = {p["id"]: p["specialty"] for p in read_jsonl(DATA / "synthetic" / "providers.jsonl")}

    def add(self, identifier, mrn, text):
        self.mrn[identifier], self.text[identifier], self.words[identifier] = mrn, text.lower(), words(text)

    def grades(self, spec):
        """{id: grade} of "ID=GRADE ..."; an unknown id is an error."""
        found = {}
        for part in spec.split():
            identifier, grade = part.split("=")
            identifier = identifier if identifier[:4] in ("DOC-", "ENC-", "CLM-", "CHT-") else f"KB-{identifier}"
            if identifier not in self.mrn or identifier in found:
                raise SystemExit(f"questions.py: {part!r} in {spec!r} is unknown or named twice")
            found[identifier] = int(grade)
        return found


class Writer:
    def __init__(self, corpus, seed):
        self.corpus, self.random, self.out = corpus, random.Random(seed), []

    def add(self, identifier, origin, who, question, mrn, relevant, never=(), family=None, misspelled=False):
        best = max((i for i in relevant if relevant[i] == 2), key=lambda i: self.overlap(question, i))
        same = self.overlap(question, best) >= SAME_WORDS
        split = "held" if zlib.crc32((family or identifier).encode()) % 5 < 2 else "train"
        self.out.append(dict(
            id=identifier, question=question, mrn=mrn,
            relevant=[dict(id=i, grade=g) for i, g in sorted(relevant.items(), key=lambda x: (-x[1], x[0]))],
            never=sorted(never), who=who, words="misspelled" if misspelled else "same" if same else "other",
            origin=origin, split=split, synthetic=True))

    def overlap(self, question, identifier):
        asked = words(question)
        return len(asked & self.corpus.words[identifier]) / max(1, len(asked))

    def misspell(self, question):
        """Two of its longer words, each with a letter dropped, doubled or swapped with the next."""
        found = [m for m in re.finditer(r"[A-Za-z]{5,}", question)]
        for m in sorted(self.random.sample(found, 2), key=lambda m: -m.start()):
            w, at = m.group(), self.random.randrange(1, len(m.group()) - 1)
            changed = {"drop": w[:at] + w[at + 1:], "double": w[:at] + w[at] + w[at:],
                       "swap": w[:at] + w[at + 1] + w[at] + w[at + 2:]}
            choices = [c for c in changed.values() if c != w]
            question = question[:m.start()] + self.random.choice(choices) + question[m.end():]
        return question


def add_hand_written(out):
    for number, (who, question, spec) in enumerate(questions.KNOWLEDGE, 1):
        out.add(f"Q-KB-{number:03d}", "hand", "patient" if who == "typo" else who, question, None,
                out.corpus.grades(spec), misspelled=who == "typo")
    for mrn, entries in questions.RECORD.items():
        for number, (who, question, spec, *never) in enumerate(entries, 1):
            out.add(f"Q-{mrn}-{number:02d}", "hand", who, question, mrn, out.corpus.grades(spec),
                    never[0].split() if never else ())


def add_shared(out):
    for number, (question, answers) in enumerate(questions.SHARED.items(), 1):
        graded = {mrn: out.corpus.grades(spec) for mrn, spec in answers.items()}
        for mrn, relevant in graded.items():
            never = {i for other in graded if other != mrn for i in graded[other] if out.corpus.mrn[i]}
            out.add(f"Q-SHARED-{number:02d}-{mrn}", "shared", "patient", question, mrn, relevant, never,
                    family=f"shared {number}")


def add_visits(out):
    """For each encounter a question by its reason, and one for its bill by kind of clinic and month."""
    for e in out.corpus.records["encounters"]:
        key, mrn = e["id"][4:], e["mrn"]
        papers = [d["id"] for d in out.corpus.records["documents"] if d["encounter_id"] == e["id"]]
        month = datetime.date.fromisoformat(e["date"]).strftime("%B %Y")
        clinic = out.corpus.specialty[e["provider_id"]]
        out.add(f"Q-VISIT-{key}", "visit", "nurse", f"What was decided when the patient came for {e['reason']}?",
                mrn, {e["id"]: 2, **{i: 1 for i in papers}}, family=f"visit {key}")
        claim = next(c for c in out.corpus.records["claims"] if c["encounter_id"] == e["id"])
        out.add(f"Q-BILL-{key}", "visit", "patient",
                f"What diagnosis stands on the {clinic} bill of {month}: is it {claim['description'].split(',')[0]}?",
                mrn, {claim["id"]: 2, e["id"]: 1}, family=f"visit {key}")


def add_medicines(out):
    """For each medicine of a record a question by its name, and one by what people call it."""
    for patient in out.corpus.patients:
        for medicine, (plain, spec) in questions.MEDICINES.items():
            if not any(m["name"].startswith(medicine) for m in patient["medications"]):
                continue
            own = {i: 1 for i, mrn in out.corpus.mrn.items()
                   if mrn == patient["mrn"] and medicine in out.corpus.text[i]}
            relevant = {**own, **out.corpus.grades(spec)}
            key = f"{medicine.replace(' ', '-')}-{patient['mrn']}"
            asked = [
                ("NAME", "nurse", f"What should the patient know about taking {medicine}, and which dangers are there?"),
                ("PLAIN", "patient", f"What do I have to be careful about with my {plain}?")]
            for kind, who, question in asked:
                out.add(f"Q-{kind}-{key}", "medicine", who, question, patient["mrn"], relevant, family=medicine)


def add_misspellings(out):
    whole = [q for q in out.out if q["origin"] == "hand" and q["words"] != "misspelled"
             and len(re.findall(r"[A-Za-z]{5,}", q["question"])) >= 3]
    for q in out.random.sample(whole, N_MISSPELLED):
        out.add(f"{q['id']}-TYPO", "misspelling", q["who"], out.misspell(q["question"]), q["mrn"],
                {r["id"]: r["grade"] for r in q["relevant"]}, q["never"], family=q["id"], misspelled=True)


def build(seed):
    out = Writer(Corpus(), seed)
    for add in (add_hand_written, add_shared, add_visits, add_medicines, add_misspellings):
        add(out)
    return "".join(json.dumps(q, ensure_ascii=False) + "\n" for q in out.out)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=int, default=20261121, help="of the misspellings (default %(default)s)")
    parser.add_argument("--out", type=pathlib.Path, default=HERE / "questions.jsonl",
                        help="file (default: questions.jsonl here)")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if the file on disk differs")
    args = parser.parse_args()
    text = build(args.seed)
    if args.check:
        if not args.out.is_file() or args.out.read_bytes() != text.encode():
            print(f"{args.out.name}: differs from what generate.py writes", file=sys.stderr)
            return 1
        return 0
    args.out.write_bytes(text.encode())
    print(f"{text.count(chr(10))} questions in {args.out}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
