//! Backups of another day: one real backup, written again under ids of any time, into any store.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use pgstow::archive::{BackupId, Manifest, StoredObject};
use pgstow::store::{MemoryStore, Store};
use pgstow_parts::{Database, server};

use crate::support::Ran;

/// A real backup in memory, to be written again.
#[derive(Debug, Clone)]
pub(crate) struct Past {
    manifest: Manifest,
    /// Everything but the manifest, by its key in the backup's folder.
    objects: Vec<(String, Vec<u8>)>,
}

impl Past {
    /// The backup of a small database, made once: a table with ten rows, and an empty one.
    pub(crate) fn get() -> Past {
        static PAST: OnceLock<Past> = OnceLock::new();
        PAST.get_or_init(|| {
            let database = Database::fresh(&server(18), "past");
            database.execute("CREATE TABLE t AS SELECT n AS id FROM generate_series(1, 10) n; CREATE TABLE e (id int)");
            let folder = tempfile::tempdir().unwrap();
            let store = format!("file://{}", folder.path().display());
            // The environment of no S3 store at all.
            let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_pgstow"));
            let dumped = command.args(["dump", "-d", &database.url(), "--to", &store, "--json"]).output().unwrap();
            let report = Ran::of(&dumped).fine().json();
            let folder = folder.path().join(report["folder"].as_str().unwrap());
            let manifest = Manifest::decode(&std::fs::read(folder.join("manifest.json")).unwrap()).unwrap();
            let read = |object: &StoredObject| (object.key.clone(), std::fs::read(folder.join(&object.key)).unwrap());
            Past { objects: manifest.stored_objects().map(read).collect(), manifest }
        })
        .clone()
    }

    /// Writes it as a backup of `database` that was begun at a time, such as `20261124T020000Z`, changed as wanted;
    /// returns its folder, which ends in a slash.
    pub(crate) async fn write(
        mut self,
        store: &dyn Store,
        database: &str,
        time: &str,
        change: impl FnOnce(&mut Manifest),
    ) -> String {
        let id: BackupId = format!("{time}-0000ff").parse().unwrap();
        let folder = format!("{database}/{id}/");
        self.manifest.id = id;
        database.clone_into(&mut self.manifest.database.name);
        change(&mut self.manifest);
        for (key, body) in self.objects {
            store.put(&format!("{folder}{key}"), body.into(), None).await.unwrap();
        }
        store.put(&format!("{folder}manifest.json"), self.manifest.encode().into(), None).await.unwrap();
        folder
    }

    /// What a killed dump leaves: a folder without a manifest.
    pub(crate) async fn leave(store: &dyn Store, database: &str, time: &str) -> String {
        let folder = format!("{database}/{time}-0000ff/");
        store.put(&format!("{folder}data_1.dat.zst"), Bytes::from_static(b"half"), None).await.unwrap();
        folder
    }
}

/// A store in memory with a nightly backup of `shop` at two o'clock on the first so many days of November 2026.
pub(crate) async fn november(days: u32) -> Arc<dyn Store> {
    let written: jiff::Timestamp = "2026-11-01T00:00:00Z".parse().unwrap();
    let written = std::time::UNIX_EPOCH + std::time::Duration::from_secs(written.as_second().unsigned_abs());
    let store: Arc<dyn Store> = Arc::new(MemoryStore::written_at(written));
    for day in 1..=days {
        Past::get().write(store.as_ref(), "shop", &format!("202611{day:02}T020000Z"), |_| {}).await;
    }
    store
}
