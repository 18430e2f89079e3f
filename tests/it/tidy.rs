//! The house rules that no compiler checks.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A file of this many lines is asking to be split.
const LONG: usize = 600;

/// Files that may be longer, each with its reason.
const ALLOWED_TO_BE_LONG: [(&str, &str); 0] = [];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file with one of these extensions (empty: without any) below the given folders, as a path from the root and
/// its text.
fn files(folders: &[&str], extensions: &[&str]) -> Vec<(String, String)> {
    let mut waiting: Vec<PathBuf> = folders.iter().map(|folder| root().join(folder)).collect();
    let mut found = Vec::new();
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            waiting.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        if extensions.contains(&extension) && path.exists() {
            let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
            found.push((name, fs::read_to_string(&path).unwrap()));
        }
    }
    found.sort();
    assert!(!found.is_empty(), "no files in {folders:?}");
    found
}

fn rust_files() -> Vec<(String, String)> {
    files(&["src", "tests", "examples"], &["rs"])
}

#[test]
fn every_file_opens_with_its_purpose() {
    let silent: Vec<_> =
        rust_files().into_iter().filter(|(_, text)| !text.starts_with("//! ")).map(|(name, _)| name).collect();
    assert_eq!(silent, Vec::<String>::new(), "these files do not begin with //! and their purpose");
}

#[test]
fn no_file_is_long() {
    let allowed: BTreeSet<&str> = ALLOWED_TO_BE_LONG.iter().map(|(name, _)| *name).collect();
    let mut long = Vec::new();
    for (name, text) in rust_files() {
        let lines = text.lines().count();
        if lines > LONG && !allowed.contains(name.as_str()) {
            long.push(format!("{name}: {lines} lines"));
        }
        assert!(lines > LONG || !allowed.contains(name.as_str()), "{name} needs no permission to be long any more");
    }
    assert_eq!(long, Vec::<String>::new());
}

/// The table of rooms in src/lib.rs: each with the rooms that it may import.
fn table() -> BTreeMap<String, BTreeSet<String>> {
    let text = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let mut rooms: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("//! | [`")) {
        let cells: Vec<&str> = line.trim_start_matches("//!").split('|').map(str::trim).collect();
        let [_, room, _, imports, _] = cells.as_slice() else { panic!("a row of another shape: {line}") };
        let room = room.trim_matches(|c| "[]`".contains(c)).to_owned();
        let imports = match *imports {
            "nothing" => BTreeSet::new(),
            "all of the above" => rooms.keys().cloned().collect(),
            list => list.split(',').map(|name| name.trim().to_owned()).collect(),
        };
        rooms.insert(room, imports);
    }
    rooms
}

#[test]
fn every_room_stands_in_the_table() {
    let text = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let modules = text.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    let modules: BTreeSet<String> = modules.map(str::to_owned).collect();
    assert_eq!(modules, table().into_keys().collect());
}

/// The rooms behind every `crate::` in a text, groups in braces included; comments are no imports.
fn imported_rooms(text: &str) -> BTreeSet<String> {
    let code: String = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut rooms = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        // `$crate::` and `some_crate::` are something else, but neither occurs without being a word before.
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let rest = &code[at + "crate::".len()..];
        let Some(group) = rest.strip_prefix('{') else {
            rooms.insert(word(rest));
            continue;
        };
        let mut depth = 0;
        let mut start = true;
        for (index, c) in group.char_indices() {
            if depth == 0 && start && (c.is_alphanumeric() || c == '_') {
                rooms.insert(word(&group[index..]));
                start = false;
            }
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => start = true,
                _ => {}
            }
        }
    }
    rooms
}

#[test]
fn imports_run_downward_only() {
    let table = table();
    let mut wrong = Vec::new();
    for (name, text) in files(&["src"], &["rs"]) {
        let below = name.trim_start_matches("src/").trim_end_matches(".rs");
        let room = below.split('/').next().unwrap();
        // The door to the house and the map of it are no rooms.
        let Some(allowed) = table.get(room) else { continue };
        for import in imported_rooms(&text) {
            if import != room && table.contains_key(&import) && !allowed.contains(&import) {
                wrong.push(format!("{name} imports {import}"));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new(), "the table in src/lib.rs says otherwise");
}

#[test]
fn the_reader_of_imports_sees_groups_and_paths() {
    let text =
        "use crate::{model::{a, b}, error::Error};\nlet x = crate::plan::y(); \n// use crate::cli;\nmycrate::store";
    assert_eq!(imported_rooms(text), ["error", "model", "plan"].map(str::to_owned).into());
}

#[test]
fn the_binary_is_thin() {
    let text = fs::read_to_string(root().join("src/main.rs")).unwrap();
    assert!(
        text.lines().count() < 50,
        "src/main.rs holds more than a call into the library and the allocator's settings"
    );
}

#[test]
fn nothing_depends_on_where_it_was_written() {
    // In pieces, or this file would be the first to be found.
    let forbidden = [
        concat!("/wo", "rk/"),
        concat!("/tmp/", "dev"),
        concat!("registry.", "npm"),
        concat!("npmjs", ".org"),
        concat!("pypi", ".org"),
        concat!("pythonhosted", ".org"),
        concat!("deb.debian", ".org"),
        concat!("index.crates", ".io"),
        concat!("static.crates", ".io"),
    ];
    let folders =
        ["src", "tests", "examples", "fixtures", ".ci", ".github", "Cargo.toml", "README.md", "docker-compose.yml"];
    let extensions = ["rs", "toml", "sql", "md", "yml", ""];
    let mut found = Vec::new();
    for (name, text) in files(&folders, &extensions) {
        for word in forbidden.iter().filter(|word| text.contains(**word)) {
            found.push(format!("{name}: {word}"));
        }
    }
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn no_test_is_ignored() {
    let attribute = concat!("#[ign", "ore");
    let ignored: Vec<_> =
        rust_files().into_iter().filter(|(_, text)| text.contains(attribute)).map(|(name, _)| name).collect();
    assert_eq!(ignored, Vec::<String>::new());
}

#[test]
fn every_fixture_is_loaded() {
    let read = |name: &str| fs::read_to_string(root().join(name)).unwrap();
    let loader = read("tests/parts/src/fixtures.rs") + &read("tests/it/providers.rs");
    // Each corpus is loaded as a folder.
    let corpora = [("fixtures/kinds", "tests/it/fidelity.rs"), ("fixtures/databases", "tests/it/databases.rs")];
    for (corpus, test) in corpora {
        assert!(read(test).contains(&format!("fixtures_in(\"{corpus}\")")), "{test} does not load {corpus}");
    }
    for (name, _) in files(&["fixtures"], &["sql"]) {
        let in_corpus = corpora.iter().any(|(corpus, _)| name.starts_with(corpus));
        assert!(in_corpus || loader.contains(&name), "{name} is not loaded by any test");
    }
}
