"""The hand-written material of the synthetic patients: twelve invented people and four invented providers.

Nobody here exists. generate.py dates this material, links it and writes the files. An encounter, document
or chat says how many days before the reference date it happened.
"""

PROVIDERS = {
    "family": ("Linden Marsh", "family medicine", "Exampleton Family Practice"),
    "emergency": ("Ottilie Crane", "emergency medicine", "Exampleton General Hospital"),
    "heart": ("Tobias Fenwick", "cardiology", "Exampleton Heart Clinic"),
    "women": ("Marisol Quill", "obstetrics and gynecology", "Exampleton Women's Clinic"),
    "child": ("Peregrine Dale", "pediatrics", "Exampleton Children's Clinic"),
    "lung": ("Ingrid Sallow", "pulmonology", "Exampleton Lung Clinic"),
    "kidney": ("Bram Okello", "nephrology", "Exampleton Kidney Clinic"),
    "endocrine": ("Farah Winslow", "endocrinology", "Exampleton Diabetes Clinic"),
    "mind": ("Corin Vale", "psychiatry", "Exampleton Behavioral Health"),
    "neuro": ("Sunniva Ash", "neurology", "Exampleton Neurology"),
}


def visit(days, kind, provider, reason, assessment, plan, code, description, vitals):
    return dict(days=days, type=kind, provider=provider, reason=reason, assessment=assessment, plan=plan,
                code=code, description=description, vitals=vitals)


def vitals(pulse, pressure, temperature, saturation, rate=16):
    return dict(pulse=pulse, blood_pressure=pressure, temperature_c=temperature, spo2=saturation,
                respiratory_rate=rate)


def document(visit_number, kind, title, text):
    """`visit_number` counts the patient's visits from 0; the document has that visit's date."""
    return dict(visit=visit_number, kind=kind, title=title, text=text)


def chat(days, *turns):
    """Turns alternate: patient, care team, patient, ..."""
    return dict(days=days, turns=turns)


PATIENTS = [
    dict(
        given="Odalys", family="Brambleford", born="1959-03-14", sex="female",
        conditions=[("Type 2 diabetes", "E11.9", "2011"), ("Hypertension", "I10", "2009"),
                    ("Hyperlipidemia", "E78.5", "2012"), ("Stable angina", "I20.89", "2024")],
        medications=[("metformin", "1000 mg twice daily", "Type 2 diabetes"),
                     ("lisinopril", "20 mg once daily", "Hypertension"),
                     ("atorvastatin", "40 mg at night", "Hyperlipidemia"),
                     ("aspirin", "81 mg once daily", "Stable angina"),
                     ("nitroglycerin", "0.4 mg under the tongue as needed", "Stable angina")],
        allergies=[("penicillin", "hives", "moderate")],
        visits=[
            visit(420, "office_visit", "heart", "chest tightness when climbing stairs",
                  "Stable angina, brought on by effort and gone within five minutes of rest",
                  "Start aspirin and nitroglycerin as needed; exercise stress test", "I20.89",
                  "Other forms of angina pectoris", vitals(78, "148/86", 36.7, 97)),
            visit(120, "office_visit", "family", "diabetes follow-up",
                  "Type 2 diabetes at target, HbA1c 6.9%; blood pressure slightly high",
                  "Continue metformin; lisinopril raised to 20 mg", "E11.9",
                  "Type 2 diabetes mellitus without complications", vitals(74, "142/84", 36.6, 98)),
        ],
        documents=[
            document(0, "visit_note", "Cardiology visit: effort angina",
                     "Tightness across the chest after two flights of stairs, gone within five minutes of rest. No pain "
                     "at rest and none at night. The exercise stress test was mildly positive at high workload. Aspirin "
                     "81 mg was started, with nitroglycerin 0.4 mg under the tongue as needed. The patient was told to "
                     "call the emergency number if pain comes at rest or lasts longer than five minutes after one dose."),
            document(1, "lab_report", "HbA1c and kidney function",
                     "HbA1c 6.9%. Creatinine 0.9 mg/dL, estimated GFR 72. LDL cholesterol 74 mg/dL. Results agree with "
                     "good control on metformin and atorvastatin."),
        ],
        chats=[chat(40, "My pharmacy changed the look of my metformin pill. Is it still the same dose?",
                    "Yes, it is a different manufacturer. The label should say 1000 mg, twice daily. Please tell us if it "
                    "says anything else.", "It does say 1000. Thank you!")],
    ),
    dict(
        given="Caspian", family="Thornquist", born="1945-11-02", sex="male",
        conditions=[("Atrial fibrillation", "I48.20", "2018"), ("Osteoarthritis of the knee", "M17.11", "2010"),
                    ("Falls", "R29.6", "2025")],
        medications=[("warfarin", "5 mg once daily, adjusted to INR", "Atrial fibrillation"),
                     ("metoprolol succinate", "50 mg once daily", "Atrial fibrillation"),
                     ("acetaminophen", "500 mg up to four times daily as needed", "Osteoarthritis of the knee")],
        allergies=[("codeine", "nausea and confusion", "moderate")],
        visits=[
            visit(210, "emergency", "emergency", "fall at home with a bruised hip",
                  "Bruised left hip after a trip over a rug; no fracture, no head injury, INR 2.6",
                  "Home with acetaminophen; referral for a home safety check", "S70.02XA",
                  "Contusion of left hip, initial encounter", vitals(82, "134/76", 36.5, 96)),
            visit(28, "office_visit", "family", "INR check and review of falls",
                  "Atrial fibrillation, rate controlled; INR 2.4, in range", "Same warfarin dose; next INR in four weeks",
                  "I48.20", "Chronic atrial fibrillation, unspecified", vitals(70, "130/74", 36.4, 97)),
        ],
        documents=[
            document(0, "discharge_summary", "Emergency visit after a fall",
                     "Tripped over a rug and landed on the left hip. X-ray showed no fracture. He did not hit his head and "
                     "had no headache. INR was 2.6. Because he takes warfarin, he and his daughter were told to return at "
                     "once after any blow to the head, even without symptoms."),
            document(1, "care_plan", "Warfarin and fall prevention plan",
                     "INR target 2 to 3, checked every four weeks. Avoid ibuprofen and other anti-inflammatory medicines. "
                     "Rugs removed and a rail fitted in the bathroom. Any head injury, black stool or bleeding that does not "
                     "stop needs emergency care."),
        ],
        chats=[chat(15, "Can I take ibuprofen for my knee? It is stiff in the mornings.",
                    "Please don't: with warfarin it raises the risk of bleeding. Acetaminophen up to 2 g a day is safer for "
                    "you. We can talk about a knee brace at your INR visit.", "All right, I will stay with the acetaminophen.")],
    ),
    dict(
        given="Wrenna", family="Hollowell", born="1994-06-21", sex="female", pregnant=True, due="2027-03-15",
        conditions=[("Pregnancy, second", "Z34.82", "2026"), ("Iron deficiency anemia in pregnancy", "O99.012", "2026")],
        medications=[("prenatal vitamin", "one tablet once daily", "Pregnancy"),
                     ("ferrous sulfate", "325 mg once daily", "Iron deficiency anemia in pregnancy")],
        allergies=[("no known drug allergies", "", "")],
        visits=[
            visit(95, "office_visit", "women", "first prenatal visit",
                  "Single pregnancy in the uterus, dates agree with ultrasound", "Prenatal vitamin; blood tests", "Z34.81",
                  "Encounter for supervision of other normal pregnancy, first trimester", vitals(80, "112/70", 36.7, 99)),
            visit(18, "office_visit", "women", "routine prenatal visit, tired",
                  "Second trimester, baby growing as expected; mild iron deficiency anemia, hemoglobin 10.4 g/dL",
                  "Start ferrous sulfate; repeat blood count in four weeks", "O99.012",
                  "Anemia complicating pregnancy, second trimester", vitals(86, "110/68", 36.6, 99)),
        ],
        documents=[
            document(0, "visit_note", "First prenatal visit",
                     "Second pregnancy; the first ended with a normal birth at 39 weeks. Ultrasound shows a single pregnancy in "
                     "the uterus with a heartbeat. Blood group O positive. Advice was given on nausea, food safety and when to "
                     "call: any bleeding, severe pain or fainting."),
            document(1, "lab_report", "Blood count, second trimester",
                     "Hemoglobin 10.4 g/dL, ferritin 9 ng/mL: iron deficiency. Platelets 231. Ferrous sulfate 325 mg once daily "
                     "was started; repeat in four weeks."),
        ],
        chats=[chat(9, "The iron tablets make my stool dark green. Is that normal?",
                    "Dark green or dark grey is expected with iron. Black and sticky like tar would not be: call us if you see that.",
                    "It is just green. Good to know, thanks.")],
    ),
    dict(
        given="Jory", family="Pennywhistle", born="2020-08-30", sex="male",
        conditions=[("Mild persistent asthma", "J45.30", "2024"), ("Atopic eczema", "L20.9", "2021")],
        medications=[("fluticasone inhaler", "44 micrograms, two puffs twice daily with spacer", "Mild persistent asthma"),
                     ("albuterol inhaler", "90 micrograms, two puffs as needed with spacer", "Mild persistent asthma")],
        allergies=[("peanut", "hives and lip swelling", "severe")],
        visits=[
            visit(330, "emergency", "emergency", "lip swelling and hives after eating a cookie",
                  "Allergic reaction to peanut, settled after epinephrine and six hours of observation",
                  "Epinephrine auto-injector for home and school; allergy referral", "T78.01XA",
                  "Anaphylactic reaction due to peanuts, initial encounter", vitals(128, "96/58", 36.8, 96, 26)),
            visit(60, "office_visit", "child", "asthma check before winter",
                  "Mild persistent asthma, well controlled: albuterol needed once in two weeks",
                  "Continue fluticasone with spacer; flu vaccine given", "J45.30",
                  "Mild persistent asthma, uncomplicated", vitals(98, "94/56", 36.7, 99, 22)),
        ],
        documents=[
            document(0, "discharge_summary", "Peanut reaction, emergency department",
                     "Hives and swelling of the lips ten minutes after a cookie with peanut. Epinephrine 0.15 mg was given by the "
                     "ambulance crew, with full recovery. Observed for six hours. Parents and school have auto-injectors and know "
                     "to use them first and then call the emergency number."),
            document(1, "care_plan", "Asthma action plan",
                     "Green: fluticasone two puffs morning and evening. Yellow, cough or wheeze: albuterol two puffs every four "
                     "hours and call the clinic. Red, ribs pulling in, too breathless to talk, or no better after albuterol: "
                     "call the emergency number."),
        ],
        chats=[chat(22, "Jory's school asks for a note about his inhaler. Can you send one?",
                    "Of course. The asthma action plan is attached to his record and we will send the school form today.",
                    "Perfect, thank you.")],
    ),
    dict(
        given="Lysander", family="Coppergate", born="1978-01-09", sex="male",
        conditions=[("Type 1 diabetes", "E10.9", "1990"), ("Background diabetic retinopathy", "E10.319", "2021")],
        medications=[("insulin glargine", "22 units at night", "Type 1 diabetes"),
                     ("insulin lispro", "6 to 10 units with meals", "Type 1 diabetes"),
                     ("glucagon nasal spray", "3 mg for severe low blood sugar", "Type 1 diabetes")],
        allergies=[("adhesive tape", "skin rash", "mild")],
        visits=[
            visit(150, "emergency", "emergency", "found confused with low blood sugar",
                  "Severe hypoglycemia, glucose 38 mg/dL, after insulin without the planned meal",
                  "Glucagon prescribed; glargine lowered from 24 to 22 units", "E10.649",
                  "Type 1 diabetes mellitus with hypoglycemia without coma", vitals(104, "138/80", 36.2, 98)),
            visit(45, "office_visit", "endocrine", "diabetes follow-up",
                  "Type 1 diabetes, HbA1c 7.4%; no severe lows since the dose change", "Continue; alarm of the sensor set to 75",
                  "E10.9", "Type 1 diabetes mellitus without complications", vitals(72, "126/78", 36.6, 98)),
        ],
        documents=[
            document(0, "discharge_summary", "Severe hypoglycemia",
                     "Found confused and sweating by a coworker, glucose 38 mg/dL. He had taken lispro and then missed lunch. He "
                     "recovered with intravenous glucose. Glargine was lowered to 22 units and nasal glucagon 3 mg prescribed."),
            document(1, "visit_note", "Endocrinology follow-up",
                     "HbA1c 7.4%. The sensor shows 4% of time below 70 mg/dL and no severe lows. Background retinopathy is "
                     "unchanged. Ketone strips are to be used when glucose stays above 250 mg/dL or when vomiting."),
        ],
        chats=[chat(12, "My sensor and my finger stick differ by 20. Which one do I trust?",
                    "After meals the sensor lags by about ten minutes. When they differ, or how you feel does not fit, "
                    "trust the finger stick.", "That makes sense, it was right after lunch.")],
    ),
    dict(
        given="Petra", family="Oakenshield-Moss", born="1989-09-17", sex="female",
        conditions=[("Recurrent urinary tract infection", "N39.0", "2025")],
        medications=[("nitrofurantoin", "100 mg twice daily for 5 days, finished", "Urinary tract infection")],
        allergies=[("sulfamethoxazole", "widespread rash", "moderate")],
        visits=[
            visit(200, "telehealth", "family", "burning urine and frequency for two days",
                  "Uncomplicated lower urinary tract infection", "Nitrofurantoin 100 mg twice daily for 5 days", "N30.00",
                  "Acute cystitis without hematuria", vitals(76, "118/74", 36.8, 99)),
            visit(21, "office_visit", "family", "burning urine again",
                  "Second lower urinary tract infection in six months; no fever, no flank tenderness",
                  "Urine culture; nitrofurantoin for 5 days; return if fever or back pain", "N30.00",
                  "Acute cystitis without hematuria", vitals(80, "120/76", 37.1, 99)),
        ],
        documents=[
            document(1, "visit_note", "Second urinary tract infection",
                     "Two days of burning and frequency. No fever, vomiting or flank pain. The rash after sulfamethoxazole was "
                     "confirmed as an allergy. Nitrofurantoin 100 mg twice daily for 5 days. Return the same day for fever, "
                     "shaking chills or back pain."),
            document(1, "lab_report", "Urine culture",
                     "Escherichia coli, more than 100,000 colonies per mL. Sensitive to nitrofurantoin and fosfomycin. "
                     "Resistant to trimethoprim-sulfamethoxazole."),
        ],
        chats=[chat(10, "I finished the antibiotic and the burning is gone. Do I need another urine test?",
                    "No test is needed while you have no symptoms. If it comes back within four weeks, please call the same day.",
                    "Great, will do.")],
    ),
    dict(
        given="Bertram", family="Gallowglass", born="1954-12-05", sex="male",
        conditions=[("Chronic kidney disease stage 4", "N18.4", "2020"), ("Hypertension", "I10", "1998"),
                    ("Gout", "M10.9", "2015")],
        medications=[("amlodipine", "10 mg once daily", "Hypertension"), ("furosemide", "40 mg once daily", "Chronic kidney disease stage 4"),
                     ("allopurinol", "100 mg once daily", "Gout"), ("sodium bicarbonate", "650 mg twice daily", "Chronic kidney disease stage 4")],
        allergies=[("iodinated contrast", "flushing and wheeze", "moderate")],
        visits=[
            visit(170, "office_visit", "kidney", "kidney clinic follow-up",
                  "Chronic kidney disease stage 4, GFR 24, potassium 4.9", "Low-potassium diet; dialysis education", "N18.4",
                  "Chronic kidney disease, stage 4 (severe)", vitals(72, "144/82", 36.5, 97)),
            visit(50, "office_visit", "family", "painful big toe",
                  "Gout flare of the right big toe; anti-inflammatory medicines avoided because of the kidneys",
                  "Prednisone 30 mg for 5 days; continue allopurinol", "M10.9", "Gout, unspecified", vitals(78, "148/84", 36.9, 97)),
        ],
        documents=[
            document(0, "lab_report", "Kidney panel",
                     "Creatinine 2.6 mg/dL, estimated GFR 24. Potassium 4.9 mmol/L, bicarbonate 20 mmol/L. Hemoglobin 11.2 g/dL."),
            document(0, "care_plan", "Kidney protection plan",
                     "Avoid ibuprofen, naproxen and contrast. Keep potassium below 5.5; call the same day for muscle weakness or "
                     "palpitations. Furosemide 40 mg each morning and daily weight: call if it rises by 2 kg in three days. Dialysis "
                     "teaching is planned."),
        ],
        chats=[chat(30, "My weight went up one kilo since Monday. Should I take more furosemide?",
                    "Not yet. Keep the same dose, watch the salt, and call us if it reaches two kilos or your ankles swell more.",
                    "It is back to normal today, thanks.")],
    ),
    dict(
        given="Saffron", family="Ellerby-Knox", born="2001-04-11", sex="female",
        conditions=[("Major depressive disorder", "F33.1", "2022"), ("Migraine without aura", "G43.009", "2019")],
        medications=[("sertraline", "100 mg once daily", "Major depressive disorder"),
                     ("sumatriptan", "50 mg at onset of migraine", "Migraine without aura")],
        allergies=[("latex", "contact rash", "mild")],
        visits=[
            visit(260, "office_visit", "mind", "low mood and poor sleep",
                  "Recurrent depression, moderate; no thoughts of self-harm; safety plan in place",
                  "Sertraline raised to 100 mg; weekly therapy", "F33.1",
                  "Major depressive disorder, recurrent, moderate", vitals(76, "112/72", 36.6, 99)),
            visit(75, "telehealth", "neuro", "migraine review",
                  "Migraine twice a month, typical pattern, good response to sumatriptan", "Continue; headache diary", "G43.009",
                  "Migraine without aura, not intractable, without status migrainosus", vitals(70, "110/70", 36.5, 99)),
        ],
        documents=[
            document(0, "care_plan", "Mood and safety plan",
                     "Warning signs: not sleeping and staying away from friends. First steps: a walk, a call to her sister. Crisis line "
                     "988 at any hour. Sertraline 100 mg daily and weekly therapy, next review in eight weeks."),
            document(1, "visit_note", "Migraine review",
                     "One-sided throbbing headache with nausea twice a month, building over an hour, relieved by sumatriptan 50 mg. No "
                     "sudden-onset headache, no weakness, no change of pattern."),
        ],
        chats=[chat(33, "I forgot my sertraline yesterday. Should I take two today?",
                    "Please take your usual single dose today and go on as before. Don't double it.", "OK, one it is.")],
    ),
    dict(
        given="Magnus", family="Ferrywell", born="1967-07-23", sex="male",
        conditions=[("Chronic obstructive pulmonary disease", "J44.9", "2019"), ("Former smoker", "Z87.891", "2020")],
        medications=[("tiotropium inhaler", "18 micrograms once daily", "Chronic obstructive pulmonary disease"),
                     ("albuterol inhaler", "90 micrograms, two puffs as needed", "Chronic obstructive pulmonary disease")],
        allergies=[("azithromycin", "prolonged QT on ECG", "severe")],
        visits=[
            visit(240, "inpatient", "lung", "worse cough and breathlessness for four days",
                  "Exacerbation of COPD, treated with oxygen, steroids and doxycycline", "Home after three days; rehabilitation",
                  "J44.1", "Chronic obstructive pulmonary disease with (acute) exacerbation", vitals(106, "136/82", 37.6, 87, 26)),
            visit(80, "office_visit", "lung", "COPD follow-up",
                  "COPD, stable, walks 400 m on the flat; saturation 93% on air", "Continue tiotropium; vaccines given", "J44.9",
                  "Chronic obstructive pulmonary disease, unspecified", vitals(84, "132/80", 36.6, 93, 18)),
        ],
        documents=[
            document(0, "discharge_summary", "Hospital stay for COPD exacerbation",
                     "Admitted with four days of worse cough and breathlessness, saturation 87% on air. Treated with controlled oxygen, "
                     "prednisone 40 mg for five days and doxycycline. Azithromycin was avoided because of a prolonged QT. Saturation "
                     "was 92% on air at discharge."),
            document(1, "visit_note", "Pulmonology follow-up",
                     "Stable since discharge; has not smoked since 2020. FEV1 54% of predicted. His usual saturation is 93%. Action "
                     "plan: call the same day for more or darker sputum, and the emergency number for breathlessness at rest."),
        ],
        chats=[chat(26, "Do I need to rinse my mouth after tiotropium like with my old inhaler?",
                    "It is not required with tiotropium, but a sip of water helps with a dry mouth.", "Thanks, that explains it.")],
    ),
    dict(
        given="Isolde", family="Rookhope", born="1985-02-27", sex="female",
        conditions=[("Epilepsy, focal", "G40.209", "2003")],
        medications=[("levetiracetam", "750 mg twice daily", "Epilepsy, focal"),
                     ("midazolam nasal spray", "5 mg for a seizure longer than five minutes", "Epilepsy, focal"),
                     ("folic acid", "1 mg once daily", "Epilepsy, focal")],
        allergies=[("carbamazepine", "blistering rash", "severe")],
        visits=[
            visit(300, "office_visit", "neuro", "yearly epilepsy review",
                  "Focal epilepsy, no seizure for 14 months", "Continue levetiracetam; may drive under state rules", "G40.209",
                  "Localization-related symptomatic epilepsy with complex partial seizures, not intractable, without status epilepticus",
                  vitals(68, "118/72", 36.5, 99)),
            visit(35, "telehealth", "family", "irritable for a few weeks",
                  "Irritability, possibly from levetiracetam; no low mood, no thoughts of self-harm", "Diary for four weeks, then review",
                  "R45.4", "Irritability and anger", vitals(72, "116/74", 36.6, 99)),
        ],
        documents=[
            document(0, "visit_note", "Epilepsy review",
                     "Seizure-free for 14 months on levetiracetam 750 mg twice daily. The blistering rash on carbamazepine in 2003 was "
                     "recorded as a severe allergy. Seizure first aid was reviewed with her partner, who has the midazolam spray."),
            document(0, "care_plan", "Seizure action plan",
                     "Usual seizure: stares and fumbles for one to two minutes. Longer than five minutes, or two in a row: midazolam "
                     "5 mg in the nose and call the emergency number. Never stop levetiracetam suddenly."),
        ],
        chats=[chat(5, "I am travelling across time zones. How do I space my levetiracetam?",
                    "Keep close to twelve hours between doses and move to the new clock over two days. Carry it in your hand luggage.",
                    "Thank you, that is easier than I feared.")],
    ),
    dict(
        given="Tamsin", family="Underleaf", born="2026-09-22", sex="female",
        conditions=[("Healthy infant born at 38 weeks", "Z00.111", "2026")],
        medications=[("vitamin D drops", "400 units once daily", "Healthy infant")],
        allergies=[("no known drug allergies", "", "")],
        visits=[
            visit(38, "office_visit", "child", "newborn visit",
                  "Healthy newborn, back to birth weight, jaundice gone", "Feed on demand; vitamin D", "Z00.111",
                  "Health examination for newborn 8 to 28 days old", vitals(142, "72/44", 36.9, 99, 42)),
            visit(8, "phone", "child", "spitting up after feeds",
                  "Spitting up small amounts, growing well, no green or bloody vomit", "Hold upright after feeds; weight check",
                  "R11.10", "Vomiting, unspecified", vitals(138, "74/46", 36.8, 99, 40)),
        ],
        documents=[
            document(0, "visit_note", "Newborn visit",
                     "Born at 38 weeks, birth weight 3.2 kg, regained by day 12. Feeding eight to ten times a day. Jaundice has "
                     "resolved. Parents were told that any temperature of 38.0 C or above before three months of age needs the "
                     "emergency department."),
            document(1, "visit_note", "Phone advice: spitting up",
                     "Small milky spit-ups after most feeds, no green or bloody vomit, wet diapers six a day. Advice: smaller feeds, "
                     "upright for 20 minutes after. Weight check next week."),
        ],
        chats=[chat(3, "Tamsin sleeps four hours at a stretch now. Do we wake her to feed?",
                    "She is back to birth weight and growing, so you can let her sleep at night. Offer feeds often in the day.",
                    "What a relief. Thank you!")],
    ),
    dict(
        given="Evander", family="Mistlewood", born="1933-05-19", sex="male",
        conditions=[("Heart failure with reduced ejection fraction", "I50.22", "2021"), ("Mild cognitive impairment", "G31.84", "2023"),
                    ("Benign prostatic hyperplasia", "N40.1", "2012")],
        medications=[("carvedilol", "6.25 mg twice daily", "Heart failure"), ("sacubitril-valsartan", "24/26 mg twice daily", "Heart failure"),
                     ("furosemide", "20 mg once daily", "Heart failure"), ("tamsulosin", "0.4 mg at night", "Benign prostatic hyperplasia")],
        allergies=[("lisinopril", "lip and tongue swelling", "severe")],
        visits=[
            visit(140, "office_visit", "heart", "ankle swelling",
                  "Heart failure, slightly fluid overloaded, ejection fraction 35%", "Furosemide 20 mg daily; weigh every morning",
                  "I50.22", "Chronic systolic (congestive) heart failure", vitals(66, "112/66", 36.3, 95)),
            visit(55, "office_visit", "family", "dizzy on standing",
                  "Drop in blood pressure on standing, from tamsulosin and furosemide", "Rise slowly; tamsulosin at bedtime",
                  "I95.1", "Orthostatic hypotension", vitals(64, "104/60", 36.4, 96)),
        ],
        documents=[
            document(0, "lab_report", "Echocardiogram and blood tests",
                     "Ejection fraction 35%, unchanged. NT-proBNP 1850 pg/mL. Creatinine 1.2 mg/dL, potassium 4.4 mmol/L."),
            document(1, "visit_note", "Dizziness on standing",
                     "Blood pressure 124/70 lying and 104/60 standing, with dizziness. No fall, no chest pain. Tamsulosin was moved to "
                     "bedtime. Because of the tongue swelling on lisinopril he must never have an ACE inhibitor again."),
        ],
        chats=[chat(20, "This is his daughter. He weighed 71.2 today and 70.9 yesterday. Is that too much?",
                    "That is normal day-to-day change. Call us if he gains more than one kilo in a day or two in three days.",
                    "Thank you, we will keep the list on the fridge.")],
    ),
]
