//! pgstow beside what people use today, on the same data, in turns: `cargo bench --bench side_by_side`.
//!
//! Makes its own data, starts its own server and its own store (`tests/parts`), runs each work and its rival in turns, and
//! prints a table of medians and ratios, which `docs/benchmark.md` keeps. Never a test: it has no limits that could fail.
//!
//! Options after `--`: `--gb 0.3` (how much data, 3 by default), `--rounds 5`, `--only WORD` (works whose name has it), `--18`
//! (server and stock programs of 18, whose build has no zstd, instead of 17).

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a program for people, which stops where something is missing"
)]

mod data;
mod null_store;
mod rivals;
mod works;

use std::fmt::Write as _;
use std::process::Command;

/// What was asked for.
#[derive(Debug, Clone)]
struct Options {
    gigabytes: f64,
    rounds: usize,
    only: Option<String>,
    stock: rivals::Stock,
}

/// Connections of either side, and processors of the machine that the goals were set for.
const JOBS: &str = "2";

/// A work done by both sides: seconds of each round.
struct Measured {
    work: &'static str,
    rival: String,
    goal: f64,
    ours: Vec<f64>,
    theirs: Vec<f64>,
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

fn main() {
    let options = options();
    let bench = works::Bench::prepare(&options);
    let mut table =
        String::from("| work | against | ours | theirs | ratio | goal |\n| --- | --- | --- | --- | --- | --- |\n");
    for work in bench.works() {
        if options.only.as_ref().is_some_and(|only| !work.name.contains(only.as_str())) {
            continue;
        }
        let mut measured = Measured {
            work: work.name,
            rival: work.rival.clone(),
            goal: work.goal,
            ours: Vec::new(),
            theirs: Vec::new(),
        };
        for round in 0..options.rounds {
            // In turns, and in turn first, so that whatever else the machine does meets both.
            let both: [(&mut Vec<f64>, &dyn Fn() -> f64); 2] =
                [(&mut measured.ours, &work.ours), (&mut measured.theirs, &work.theirs)];
            let mut both: Vec<_> = both.into_iter().collect();
            if round % 2 == 1 {
                both.reverse();
            }
            for (times, run) in both {
                bench.settle();
                times.push(run());
            }
        }
        let (ours, theirs) = (median(&measured.ours), median(&measured.theirs));
        let ratio = ours / theirs;
        println!("{}: {:.2?} against {:.2?}", measured.work, measured.ours, measured.theirs);
        let _ = writeln!(
            table,
            "| {} | {} | {ours:.1} s | {theirs:.1} s | **{ratio:.2}** | {} |",
            measured.work, measured.rival, measured.goal
        );
    }
    println!("\n{}\n{table}\n{}", circumstances(&options), bench.counted());
}

fn options() -> Options {
    let mut options = Options { gigabytes: 3.0, rounds: 5, only: None, stock: rivals::WITH_ZSTD };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--gb" => options.gigabytes = arguments.next().unwrap().parse().unwrap(),
            "--rounds" => options.rounds = arguments.next().unwrap().parse().unwrap(),
            "--only" => options.only = arguments.next(),
            "--18" => options.stock = rivals::NEWEST,
            // What cargo adds itself.
            _ => {}
        }
    }
    options
}

/// The machine and the versions, in one paragraph.
fn circumstances(options: &Options) -> String {
    let said = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output();
        output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
    };
    let processor = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let processor = processor.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default().to_owned();
    format!(
        "{} GB of COPY text, {} rounds, {} connections; {} processors ({}); load {}; pgstow {}; rivals: {}.",
        options.gigabytes,
        options.rounds,
        JOBS,
        std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
        processor.trim_start_matches(['\t', ' ', ':']),
        said("cut", &["-d ", "-f1-3", "/proc/loadavg"]),
        env!("CARGO_PKG_VERSION"),
        options.stock.versions(),
    )
}
