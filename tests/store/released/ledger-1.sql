-- ledger.db as Courtyard 0.1.0 wrote it at schema 1
BEGIN TRANSACTION;
CREATE TABLE journal (
  id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, subject TEXT NOT NULL, time_ns INTEGER NOT NULL, body TEXT NOT NULL
);
INSERT INTO "journal" VALUES(1,'alarm','pump-1.dry',1772445600000000000,'{"event":"raised","name":{"zh":"缺水","en":"Dry"}}');
INSERT INTO "journal" VALUES(2,'order','WO-000001',1772445601000000000,'{"event":"opened"}');
INSERT INTO "journal" VALUES(3,'push','pump-1.dry',1772445602000000000,'{"ok":true,"channel":"desk''s robot","text":"line 1\nline 2; end"}');
CREATE TABLE state (kind TEXT NOT NULL, key TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (kind, key)) WITHOUT ROWID
;
INSERT INTO "state" VALUES('alarm','pump-1.dry','{"state":"unacknowledged","occurrence":1}');
INSERT INTO "state" VALUES('meter','pump-1.run_hours','{"value":1999.9}');
INSERT INTO "state" VALUES('order','WO-000001','{"state":"open"}');
CREATE INDEX journal_by_kind ON journal (kind, id);
CREATE INDEX journal_by_subject ON journal (subject, id);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('journal',3);
COMMIT;
PRAGMA user_version=1;
