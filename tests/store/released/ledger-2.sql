-- ledger.db as Courtyard 0.1.0 wrote it at schema 2
BEGIN TRANSACTION;
CREATE TABLE journal (
  id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, subject TEXT NOT NULL, time_ns INTEGER NOT NULL, body TEXT NOT NULL
);
INSERT INTO "journal" VALUES(1,'alarm','pump-1.dry',1772445600000000000,'{"event":"raised","name":{"zh":"缺水","en":"Dry"}}');
INSERT INTO "journal" VALUES(2,'order','WO-000001',1772445601000000000,'{"event":"opened"}');
INSERT INTO "journal" VALUES(3,'push','pump-1.dry',1772445602000000000,'{"ok":true,"channel":"desk''s robot","text":"line 1\nline 2; end"}');
CREATE TABLE schemas (schema INTEGER PRIMARY KEY, version TEXT NOT NULL);
INSERT INTO "schemas" VALUES(1,'0.1.0');
INSERT INTO "schemas" VALUES(2,'0.1.0');
CREATE TABLE state (kind TEXT NOT NULL, key TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (kind, key)) WITHOUT ROWID;
INSERT INTO "state" VALUES('alarm','pump-1.dry','{"state":"unacknowledged","occurrence":1}');
INSERT INTO "state" VALUES('alarm','pump-2.dry','{"id":"pump-2.dry","equipment":"pump-2","rule":"dry","code":"PMP-03","priority":"high","state":"unacknowledged","name":{"zh":"缺水；''保护''","en":"Dry; ''protected''"},"advice":{"zh":"泵房","en":"Pump room"},"cause":{"zh":"泵房","en":"Pump room"},"consequence":null,"respond_s":1800.0,"shelvable":true,"active":true,"occurrence":3,"seq":17,"raised_ns":1772445600000000000,"cleared_ns":1772445599000000000,"acked_ns":1772445598000000000,"acked_by":"li","point":"pump-2.level","value":0.3,"shelved_until_ns":1772445601000000000,"cls":"service"}');
INSERT INTO "state" VALUES('era','4711','{"first_seq":4711,"boot":"boot-1","offset_ns":5000000000,"begun_s":12.5,"released":true}');
INSERT INTO "state" VALUES('incident','INC-20260302-001','{"id":"INC-20260302-001","title":{"zh":"缺水；''保护''","en":"Dry; ''protected''"},"root":"pump-2","lead":"pump-2.dry","first_out":"pump-2.dry","priority":"high","state":"acknowledged","opened_ns":1772445600000000000,"changed_ns":1772445601000000000,"active":1,"unacknowledged":0,"rescue":false,"alarms":["pump-2.dry"],"timeline":[[1772445600000000000,"opened","pump-2.dry","",""],[1772445601000000000,"push failed","","li","desk: timed out"]],"more":2,"called_ns":1772445600000000000,"called":"high","acked_ns":1772445601000000000,"acked_by":"li","onsite_ns":1772445602000000000,"onsite_by":"王","released_ns":null,"released_by":null,"closed_ns":null,"caused_by":"INC-20260302-000","merged_into":null}');
INSERT INTO "state" VALUES('ladder','pump-2.dry','{"notice":{"id":"pump-2.dry","kind":"alarm","priority":"high","title":{"zh":"缺水；''保护''","en":"Dry; ''protected''"},"body":{"zh":"泵房","en":"Pump room"},"equipment":"2# pump","place":"B1","time_ns":1772445600000000000,"resolved":false,"respond_s":1800},"began_ns":1772445700000000000,"round_began_ns":1772445900000000000,"round":2,"taken":0,"stopped":true,"open":[[1,"li","desk"]],"reached":["王"],"delivered":[0],"resolved":null}');
INSERT INTO "state" VALUES('meter','pump-1.run_hours','{"value":1999.9}');
INSERT INTO "state" VALUES('order','WO-000001','{"state":"open"}');
INSERT INTO "state" VALUES('order','WO-000002','{"id":"WO-000002","equipment":"pump-2","plan":"bearings","title":{"zh":"缺水；''保护''","en":"Dry; ''protected''"},"task":{"zh":"泵房","en":"Pump room"},"priority":"medium","cause":{"zh":"缺水；''保护''","en":"Dry; ''protected''"},"opened_ns":1772445600000000000,"due_ns":1772532000000000000,"state":"started","due_value":2000.5,"done_value":1999.75,"finished_ns":null,"history":[{"event":"opened","time_ns":1772445600000000000,"who":"","note":""},{"event":"accepted","time_ns":1772445601000000000,"who":"王","note":"on my way; 5 min"}]}');
INSERT INTO "state" VALUES('override','pump-2.speed','{"point":"pump-2.speed","value":42.5,"returns_to":null,"until_ns":1772446500000000000,"for_s":1200.0,"who":"li","reason":"flushing; ''B1''"}');
CREATE INDEX journal_by_kind ON journal (kind, id);
CREATE INDEX journal_by_subject ON journal (subject, id);
CREATE INDEX journal_by_time ON journal (kind, time_ns);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('journal',3);
COMMIT;
PRAGMA user_version=2;
