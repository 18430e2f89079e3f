//! `pgstow verify` finds whatever is not as it was written, and names it.

use pgstow_parts::{Database, garage, server};
use serde_json::Value;

use crate::support::{Backup, Ran, assert_same_data, pgstow};

/// A few tables, one of several frames, one empty, and large objects: every sort of object a backup has.
fn small() -> Database {
    let database = Database::fresh(&server(18), "verify");
    database.execute(
        "CREATE TABLE several_frames AS SELECT n, repeat(md5(n::text), 40) AS t FROM generate_series(1, 3000) n;
         CREATE TABLE empty (id integer);
         CREATE TABLE \"odd\nname\" AS SELECT E'one\\nrow\\\\.' AS t;
         SELECT lo_from_bytea(0, 'some bytes'), lo_create(0)",
    );
    database
}

fn verify(backup: &Backup, arguments: &[&str]) -> Ran {
    let store = backup.store();
    let fixed = ["verify", backup.id.as_str(), "--from", &store];
    pgstow(&backup.s3, &[fixed.as_slice(), arguments].concat())
}

fn keys_of_problems(ran: &Ran) -> Vec<String> {
    let problems = ran.json()["problems"].as_array().unwrap().clone();
    let mut keys: Vec<String> = problems.iter().map(|problem| problem["key"].as_str().unwrap().to_owned()).collect();
    keys.dedup();
    keys
}

#[test]
fn a_sound_backup_verifies_whatever_its_codec() {
    let database = small();
    for codec in ["zstd:3", "gzip:1", "lz4", "none"] {
        let backup = Backup::make(&garage(), &database, &["-Z", codec]);
        let report = verify(&backup, &["--json"]).fine().json();
        assert_eq!(report["problems"], serde_json::json!([]), "{codec}");
        let kept = backup.s3.keys(&backup.folder()).unwrap().len();
        assert_eq!(report["objects"], Value::from(kept), "{codec}");
        verify(&backup, &["--quick"]).fine();
    }
}

#[test]
fn a_bit_flipped_in_any_object_is_found_and_the_object_is_named() {
    let database = small();
    let backup = Backup::make(&garage(), &database, &[]);
    let folder = backup.folder();
    for (number, key) in backup.s3.keys(&folder).unwrap().iter().enumerate() {
        let whole = backup.s3.get(key).unwrap();
        if whole.is_empty() {
            continue;
        }
        for at in [0, whole.len() * (number + 1) / 12 % whole.len(), whole.len() - 1] {
            backup.s3.put(key, flipped(&whole, at, number % 8)).unwrap();
            let ran = verify(&backup, &["--json"]);
            ran.failed(6, &[]);
            if key.ends_with("manifest.json") {
                ran.failed(6, &["manifest.json"]);
            } else {
                let own = key.strip_prefix(&format!("{}/", backup.prefix)).unwrap();
                assert_eq!(keys_of_problems(&ran), [own], "byte {at}");
            }
        }
        backup.s3.put(key, whole).unwrap();
    }
    verify(&backup, &[]).fine();
}

fn flipped(whole: &[u8], at: usize, bit: usize) -> Vec<u8> {
    let mut damaged = whole.to_vec();
    damaged[at] ^= 1 << bit;
    damaged
}

#[test]
fn a_restore_never_takes_an_object_with_a_flipped_bit_and_names_it() {
    let database = small();
    let backup = Backup::make(&garage(), &database, &[]);
    let folder = backup.folder();
    let mut tried = 0;
    for (number, key) in backup.s3.keys(&folder).unwrap().iter().enumerate() {
        let whole = backup.s3.get(key).unwrap();
        let own = key.strip_prefix(&folder).unwrap();
        for at in [0, whole.len() / 2, whole.len().saturating_sub(1)] {
            if whole.is_empty() {
                continue;
            }
            backup.s3.put(key, flipped(&whole, at, (number + at) % 8)).unwrap();
            let target = Database::fresh(&database.server, "flipped_target");
            tried += 1;
            match own {
                // The manifest lists the large objects, so their table of contents is for stock pg_restore alone.
                "blobs.toc" => {
                    backup.restore(&target, &[]).fine();
                    assert_same_data(&database, &target);
                }
                // It is read where roles are wanted, and before anything is done.
                "globals.sql" => {
                    backup.restore(&target, &["--globals"]).failed(6, &[own]);
                    assert_eq!(target.value("SELECT to_regclass('several_frames') IS NULL"), "t");
                }
                _ => backup.restore(&target, &[]).failed(6, &[own]),
            }
        }
        backup.s3.put(key, whole).unwrap();
    }
    assert!(tried >= 24, "{tried}");
}

#[test]
fn a_quick_look_finds_every_object_that_is_gone_or_has_another_size_and_no_flipped_bit() {
    let database = small();
    let backup = Backup::make(&garage(), &database, &[]);
    for key in backup.s3.keys(&backup.folder()).unwrap() {
        let own = key.strip_prefix(&format!("{}/", backup.prefix)).unwrap();
        let whole = backup.s3.get(&key).unwrap();
        let (mut longer, is_manifest) = (whole.clone(), key.ends_with("manifest.json"));
        longer.push(0);
        let shorter = whole.split_last().map(|(_, rest)| rest.to_vec());
        for damaged in [Some(longer), shorter, None] {
            match damaged {
                Some(damaged) => backup.s3.put(&key, damaged).unwrap(),
                None => backup.s3.delete(&key).unwrap(),
            }
            let ran = verify(&backup, &["--quick", "--json"]);
            ran.failed(6, &[]);
            if !is_manifest {
                assert_eq!(keys_of_problems(&ran), [own]);
            }
        }
        if !is_manifest && !whole.is_empty() {
            backup.s3.put(&key, flipped(&whole, whole.len() / 2, 3)).unwrap();
            let ran = verify(&backup, &["--quick"]).fine();
            assert!(ran.stdout.contains("sizes only"), "{ran:?}");
        }
        backup.s3.put(&key, whole).unwrap();
    }
    verify(&backup, &[]).fine();
}

#[test]
fn all_problems_are_listed_and_not_only_the_first() {
    let database = small();
    let backup = Backup::make(&garage(), &database, &[]);
    let manifest = pgstow(&backup.s3, &["show", "latest", "--from", &backup.store(), "--json"]).fine().json();
    let table = |name: &str| {
        let tables = manifest["tables"].as_array().unwrap();
        tables.iter().find(|table| table["name"] == name).unwrap().clone()
    };
    let key = |table: &Value| format!("{}{}", backup.folder(), table["object"]["key"].as_str().unwrap());
    let (large, empty) = (table("several_frames"), table("empty"));
    let whole = backup.s3.get(&key(&large)).unwrap();
    let mut damaged = whole.clone();
    let second = usize::try_from(large["frames"][0][0].as_u64().unwrap()).unwrap();
    damaged[second + 40] ^= 4;
    backup.s3.put(&key(&large), damaged).unwrap();
    backup.s3.delete(&key(&empty)).unwrap();
    backup.s3.put(&format!("{}toc.dat", backup.folder()), b"PGDMP".to_vec()).unwrap();
    let ran = verify(&backup, &["-j", "2"]);
    ran.failed(6, &["problems found"]);
    let first_row = large["frames"][0][2].as_u64().unwrap() + 1;
    for said in [
        "toc.dat: has 5 bytes",
        "(table public.several_frames): does not have the digest",
        &format!("frame 2 at byte {second} (rows {first_row} to "),
        "(table public.empty): is not there",
    ] {
        assert!(ran.stdout.contains(said), "{said:?} is not said: {}", ran.stdout);
    }
    let quick = verify(&backup, &["--quick", "--json"]);
    quick.failed(6, &[]);
    assert_eq!(quick.json()["problems"].as_array().unwrap().len(), 2, "{}", quick.stdout);
}

#[test]
fn a_restored_database_is_compared_with_its_backup_row_by_row() {
    let database = small();
    let backup = Backup::make(&garage(), &database, &[]);
    let target = Database::fresh(&database.server, "compared");
    let report = backup.restore(&target, &["--verify", "--json"]).fine().json();
    assert_eq!(report["verified"], serde_json::json!({ "tables": 3, "of_extensions": 0, "differences": [] }));
    // A trigger of the target that changes one row, and a row that was there before.
    let other = Database::fresh(&database.server, "compared_other");
    backup.restore(&other, &["-s"]).fine();
    other.execute(
        "INSERT INTO empty VALUES (1);
         CREATE FUNCTION change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.t := left(NEW.t, 3); RETURN NEW; END';
         CREATE TRIGGER change BEFORE INSERT ON several_frames FOR EACH ROW WHEN (NEW.n = 7) EXECUTE FUNCTION change()",
    );
    let ran = backup.restore(&other, &["-a", "--verify", "--json"]);
    ran.failed(6, &["2 of 3 tables differ"]);
    let differences = ran.json()["verified"]["differences"].clone();
    assert_eq!(
        differences,
        serde_json::json!([
            "table data public.empty: 1 rows, the backup has 0",
            "table data public.several_frames: as many rows as the backup (3000), but not the same ones",
        ])
    );
}
