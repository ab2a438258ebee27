#!/usr/bin/env python3
"""Writes the synthetic patients of CarePath: data/synthetic/*.jsonl.

The people, visits, documents and conversations are hand-written in cases.py; this script gives them
identifiers, dates and links. The same seed and reference date always give the same bytes.
"""

import argparse
import datetime
import json
import pathlib
import random
import sys

sys.dont_write_bytecode = True
import cases  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
STREETS = ["Sample Street", "Placeholder Lane", "Mockingbird Row", "Fixture Road", "Demo Avenue"]
ROLES = ["patient", "care_team"]


class Writer:
    """Collects the records of every file, in order."""

    def __init__(self, seed, reference):
        self.random = random.Random(seed)
        self.reference = reference
        self.files = {name: [] for name in ("patients", "encounters", "claims", "documents", "chat_logs",
                                            "providers", "audit_logs")}
        self.provider_ids = {}

    def add(self, file, **record):
        self.files[file].append({**record, "synthetic": True})

    def day(self, days_before):
        return (self.reference - datetime.timedelta(days=days_before)).isoformat()

    def phone(self):
        return f"555-01{self.random.randrange(100):02d}"

    def audit(self, mrn, date, event, actor, target):
        number = len(self.files["audit_logs"]) + 1
        clock = f"{self.random.randrange(8, 18):02d}:{self.random.randrange(60):02d}:00Z"
        self.add("audit_logs", id=f"AUD-{number:04d}", mrn=mrn, time=f"{date}T{clock}", event=event, actor=actor,
                 target=target, outcome="success")

    def text(self, file):
        return "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in self.files[file])


def add_providers(out):
    for number, (key, (name, specialty, place)) in enumerate(cases.PROVIDERS.items(), 1):
        out.provider_ids[key] = f"PRV-{number:02d}"
        out.add("providers", id=out.provider_ids[key], name=name, specialty=specialty, organization=place,
                phone=out.phone())


def add_patient(out, mrn, case):
    record = dict(
        mrn=mrn, name=dict(given=case["given"], family=case["family"]), date_of_birth=case["born"], sex=case["sex"],
        phone=out.phone(),
        address=dict(line=f"{out.random.randrange(1, 90)} {out.random.choice(STREETS)}", city="Exampleton", state="EX",
                     postal_code="00000"),
        conditions=[dict(name=n, icd10=c, since=s) for n, c, s in case["conditions"]],
        medications=[dict(name=n, dose=d, reason=r) for n, d, r in case["medications"]],
        allergies=[dict(substance=s, reaction=r, severity=v) if r else dict(substance=s)
                   for s, r, v in case["allergies"]],
        primary_provider_id=out.provider_ids[case["visits"][-1]["provider"]])
    if case.get("pregnant"):
        record.update(pregnant=True, due_date=case["due"])
    out.add("patients", **record)


def add_visits(out, mrn, case):
    """Encounters with a claim each; returns (encounter id, date, provider id) of every visit."""
    placed = []
    for number, v in enumerate(case["visits"], 1):
        encounter, date = f"ENC-{mrn[4:]}-{number}", out.day(v["days"])
        provider = out.provider_ids[v["provider"]]
        out.add("encounters", id=encounter, mrn=mrn, date=date, type=v["type"], provider_id=provider, reason=v["reason"],
                assessment=v["assessment"], plan=v["plan"], vitals=v["vitals"])
        claim = f"CLM-{mrn[4:]}-{number}"
        out.add("claims", id=claim, mrn=mrn, date=date, encounter_id=encounter, provider_id=provider,
                icd10=v["code"], description=v["description"],
                amount_usd=out.random.randrange(90, 400) * (12 if v["type"] == "inpatient" else 1),
                status=out.random.choice(["paid", "paid", "submitted"]))
        out.audit(mrn, date, "record_viewed", provider, encounter)
        out.audit(mrn, date, "claim_submitted", provider, claim)
        placed.append((encounter, date, provider))
    return placed


def add_documents(out, mrn, case, placed):
    for number, d in enumerate(case["documents"], 1):
        encounter, date, provider = placed[d["visit"]]
        identifier = f"DOC-{mrn[4:]}-{number}"
        out.add("documents", id=identifier, mrn=mrn, kind=d["kind"], title=d["title"], date=date, encounter_id=encounter,
                text=d["text"])
        out.audit(mrn, date, "document_created", provider, identifier)


def add_chats(out, mrn, case):
    for number, c in enumerate(case["chats"], 1):
        identifier, date = f"CHT-{mrn[4:]}-{number}", out.day(c["days"])
        out.add("chat_logs", id=identifier, mrn=mrn, date=date,
                turns=[dict(role=ROLES[i % 2], text=t) for i, t in enumerate(c["turns"])])
        out.audit(mrn, date, "message_read", "care_team", identifier)


def build(seed, reference):
    out = Writer(seed, reference)
    add_providers(out)
    for number, case in enumerate(cases.PATIENTS, 1):
        mrn = f"MRN-{number:03d}"
        add_patient(out, mrn, case)
        placed = add_visits(out, mrn, case)
        add_documents(out, mrn, case, placed)
        add_chats(out, mrn, case)
    return {f"{name}.jsonl": out.text(name) for name in out.files}


def check(files, folder):
    """The names of the files on disk that are not what would be written."""
    return [name for name, text in files.items()
            if not (folder / name).is_file() or (folder / name).read_bytes() != text.encode()]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=int, default=20261121, help="of the random details (default %(default)s)")
    parser.add_argument("--reference", type=datetime.date.fromisoformat, default=datetime.date(2026, 11, 15),
                        metavar="YYYY-MM-DD", help="the day visits are dated back from (default %(default)s)")
    parser.add_argument("--out", type=pathlib.Path, default=HERE / "synthetic", help="folder (default: data/synthetic)")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if the files on disk differ")
    args = parser.parse_args()
    files = build(args.seed, args.reference)
    if args.check:
        different = check(files, args.out)
        for name in different:
            print(f"{name}: differs from what generate.py writes", file=sys.stderr)
        return 1 if different else 0
    args.out.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (args.out / name).write_bytes(text.encode())
    print(f"{len(files)} files in {args.out}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
