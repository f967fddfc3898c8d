//! What probe costs: measured off and on in turn, in one run, printed as a table and kept as JSON.
//!
//! `bench [--rounds N] [--part NAME]... [--json FILE]... [--markdown FILE] [--compare FILE] [--baseline FILE]`;
//! `cargo xtask bench` builds everything in release mode and runs it. Nothing here passes or fails: it measures.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program whose output is its result, with progress"
)]

mod apart;
mod calls;
mod compare;
mod crowd;
mod documents;
mod empty;
mod figure;
mod files;
mod peer;
mod peers;
mod programs;
mod repeat;
mod requests;
mod results;
mod statements;
mod window;

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result, bail};

use figure::Figure;
use results::Results;

/// Measures one part, with so many rounds.
type Part = fn(usize) -> Result<Vec<Figure>>;

const PARTS: [(&str, Part); 9] = [
    ("calls", calls::measure),
    ("requests", requests::measure),
    ("documents", documents::measure),
    ("statements", statements::measure),
    ("files", files::measure),
    ("sockets", crowd::sockets),
    ("endpoints", crowd::endpoints),
    ("programs", programs::measure),
    ("peers", peers::measure),
];

/// What was asked for.
struct Options {
    rounds: usize,
    /// All, if none is named.
    parts: Vec<String>,
    json: Vec<PathBuf>,
    markdown: Option<PathBuf>,
    compare: Option<PathBuf>,
    /// To compare with where nothing is named, if it is of a machine like this one.
    baseline: Option<PathBuf>,
}

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    // Our own child: does something over and over and says how long it took.
    if let (Some("--repeat"), Some(what)) = (args.next().as_deref(), args.next()) {
        return repeat::make(&what);
    }
    let options = parse(std::env::args().skip(1))?;
    // Before anything is measured: a file that cannot be read must not cost a run.
    let earlier = options.compare.as_ref().or(options.baseline.as_ref());
    let earlier = earlier.map(|path| Results::read(path)).transpose()?.flatten();
    if let (Some(path), None) = (&options.compare, &earlier) {
        bail!("there is no `{}`", path.display());
    }
    let results = measure(&options)?;
    match earlier {
        Some(earlier) if options.compare.is_some() || earlier.is_like(&results) => {
            if options.compare.is_none() {
                println!("compared with the baseline in the tree, which is of a machine like this one");
            }
            println!("{}", compare::table(&earlier, &results));
        }
        Some(earlier) => {
            let (kernel, processors) = (earlier.kernel, earlier.processors);
            println!("not compared with the baseline, which is of Linux {kernel} on {processors} processors");
        }
        None => {}
    }
    let write = |path: &PathBuf, text: String| {
        fs::write(path, text).with_context(|| format!("failed to write `{}`", path.display()))
    };
    for path in &options.json {
        write(path, results.json()?)?;
    }
    options.markdown.iter().try_for_each(|path| write(path, results.markdown()))
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<Options> {
    let mut options =
        Options { rounds: 5, parts: vec![], json: vec![], markdown: None, compare: None, baseline: None };
    while let Some(arg) = args.next() {
        let mut value = || args.next().with_context(|| format!("`{arg}` takes a value"));
        match arg.as_str() {
            "--rounds" => options.rounds = value()?.parse().context("`--rounds` takes a number")?,
            "--part" => options.parts.push(value()?),
            "--json" => options.json.push(value()?.into()),
            "--markdown" => options.markdown = Some(value()?.into()),
            "--compare" => options.compare = Some(value()?.into()),
            "--baseline" => options.baseline = Some(value()?.into()),
            _ => bail!("unknown argument `{arg}`, see `cargo xtask --help`"),
        }
    }
    let names = PARTS.map(|(name, _)| name);
    if let Some(unknown) = options.parts.iter().find(|part| !names.contains(&part.as_str())) {
        bail!("there is no part `{unknown}`, only {}", names.join(", "));
    }
    Ok(options)
}

fn measure(options: &Options) -> Result<Results> {
    let rounds = options.rounds;
    let mut figures = Vec::new();
    for (name, measure) in PARTS {
        if options.parts.is_empty() || options.parts.iter().any(|part| part == name) {
            eprintln!("{name}: {rounds} rounds");
            let measured = measure(rounds).with_context(|| format!("failed to measure {name}"))?;
            println!("{}", figure::table(name, &measured));
            figures.extend(measured);
        }
    }
    println!("{}", figure::budgets(&figures));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned();
    Ok(Results { kernel, processors: std::thread::available_parallelism()?.get(), rounds, figures })
}
