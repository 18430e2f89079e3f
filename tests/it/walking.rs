//! The whole way that a team goes, as a script: bucket, rights, backup, restore test, monitoring, cost, disaster.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use pgstow_parts::{Database, S3, moto, server};

use crate::support::{Ran, assert_same_data, assert_same_schema, shop};

#[test]
fn the_walkthrough_goes_from_an_empty_account_to_a_restored_database() {
    let base = moto();
    let s3 = S3 { bucket: base.fresh_prefix("pgstow-walk").to_lowercase(), ..base };
    let (source, target) = (shop(&server(18), "walk"), Database::fresh(&server(18), "walked"));
    let folder = tempfile::tempdir().unwrap();
    // The server is one of ours, or the user's.
    let url = source.url();
    let port = url.rsplit_once('@').and_then(|(_, rest)| rest.split('/').next()?.split_once(':')).unwrap().1;
    let environment = folder.path().join("backup.env");
    let text = format!(
        "export DB_HOST=127.0.0.1\nexport DB_PORT={}\nexport DB_DATABASE={}\nexport DB_USERNAME=postgres\n\
         export DB_PASSWORD='not asked for'\nexport BACKUP_S3_BUCKET={}\nexport AWS_DEFAULT_REGION={}\n",
        port, source.name, s3.bucket, s3.region
    );
    std::fs::write(&environment, text).unwrap();
    std::fs::set_permissions(&environment, std::fs::Permissions::from_mode(0o600)).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/walkthrough.sh");
    let programs = Path::new(env!("CARGO_BIN_EXE_pgstow")).parent().unwrap();
    let mut command = Command::new("bash");
    command.arg(script).arg(&environment).arg(target.url()).arg(folder.path());
    command.env_clear().envs(s3.environment()).env("HOME", folder.path());
    command.env("PATH", format!("{}:/usr/bin:/bin", programs.display()));
    let ran = Ran::of(&command.output().unwrap()).fine();
    for said in ["PGSTOW OK - ", "ok: ", "job shop", "== disaster"] {
        assert!(ran.stdout.contains(said), "{said:?} is not said: {}", ran.stdout);
    }
    assert_same_schema(&source, &target);
    assert_same_data(&source, &target);
    let page = std::fs::read_to_string(folder.path().join("backups.html")).unwrap();
    assert!(page.contains(&source.name) && page.contains("Nothing failed"), "{page}");
    let used = std::fs::read_to_string(folder.path().join("used.json")).unwrap();
    assert!(used.contains("s3:PutObject") && !used.contains("s3:DeleteObject"), "{used}");
}
