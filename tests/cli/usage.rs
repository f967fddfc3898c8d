//! What can be said before anything of the machine is looked at: usage, profiles, output directories.

use std::fs;

use anyhow::{Context as _, Result, ensure};

use crate::{
    Suite,
    bench::{Target, end_of, probe, refused},
};

pub(crate) fn add_to(suite: &mut Suite) {
    suite.add("usage::help_and_version", help_and_version);
    suite.add("usage::wrong_arguments", wrong_arguments);
    suite.add("usage::all_errors_of_a_profile", all_errors_of_a_profile);
    suite.add("usage::a_profile_that_is_not_there", a_profile_that_is_not_there);
    suite.add("usage::output_directories", output_directories);
    suite.add_root("usage::plans_that_cannot_be_played", plans_that_cannot_be_played);
}

/// What a plan lacks is told before anything is attached.
fn plans_that_cannot_be_played() -> Result<()> {
    let target = Target::start()?;
    let pid = target.pid().to_string();
    let folder = tempfile::tempdir()?;
    let profile = folder.path().join("p.toml");
    let profile_path = profile.to_str().context("a path of ours")?;
    let phase = "name = 'x'\n[[phase]]\nname = 'a'\nduration = '1s'\n";
    for (text, load, words) in [
        ("name = 'x'\n", &[][..], &["there is nothing to play", "[[phase]]"][..]),
        (phase, &["--", "no-such-load-generator"], &["load command `no-such-load-generator`", "install it"]),
        (
            phase,
            &["--", "sleep", "{users}"],
            &["`{users}` in the load command", "phase `a`", "vars = { users"],
        ),
        ("name = 'x'\n[[phase]]\nname = 'a'\n", &[], &["phase `a` lacks `duration`"]),
    ] {
        fs::write(&profile, text)?;
        let arguments = [&["run", "--pid", &pid, "--profile", profile_path][..], load].concat();
        refused(&mut probe(&arguments)?, 2, words)?;
    }
    Ok(())
}

/// Help goes to stdout, names the exit codes, hides what is not for users, and is no error.
fn help_and_version() -> Result<()> {
    let help = end_of(&mut probe(&["--help"])?)?;
    ensure!(help.code == Some(0) && help.stderr.is_empty(), "{help:?}");
    for word in ["attach", "report", "doctor", "Exit codes", "inconclusive"] {
        ensure!(help.stdout.contains(word), "{word}: {help:?}");
    }
    let help = end_of(&mut probe(&["attach", "--help"])?)?;
    for word in [
        "--pid",
        "--port",
        "--cgroup",
        "--profile",
        "--duration",
        "--out",
        "--record",
        "--budget",
        "--no-children",
    ] {
        ensure!(help.stdout.contains(word), "{word}: {help:?}");
    }
    ensure!(!help.stdout.contains("--btf") && !help.stdout.contains("--ring-mib"), "{help:?}");
    let version = end_of(&mut probe(&["--version"])?)?;
    ensure!(version.code == Some(0) && version.stdout.starts_with("probe "), "{version:?}");
    Ok(())
}

/// A wrong argument is code 2, on stderr, and names what is wrong.
fn wrong_arguments() -> Result<()> {
    for (arguments, word) in [
        (&[][..], "Usage"),
        (&["attack"], "attack"),
        (&["attach"], "--pid"),
        (&["attach", "--pid", "1", "--port", "80"], "cannot be used with"),
        (&["attach", "--pid", "0"], "0 is not in"),
        (&["attach", "--pid", "self"], "invalid digit"),
        (&["attach", "--port", "99999"], "99999 is not in"),
        (&["attach", "--pid", "1", "--duration", "soon"], "unknown unit `soon`"),
        (&["attach", "--pid", "1", "--inconclusive", "maybe"], "possible values"),
        (&["attach", "--pid", "1", "--budget", "0"], "write a percentage (1%, 0.5%)"),
        (&["attach", "--pid", "1", "--budget", "abc"], "write a percentage (1%, 0.5%)"),
        (&["attach", "--pid", "1", "--budget", "0%"], "above 0% and at most 100%"),
        (&["attach", "--pid", "1", "--budget", "-1%"], "not a share of one core"),
        (&["run", "--pid", "1", "--budget", "101%"], "above 0% and at most 100%"),
        (&["attach", "--pid", "1", "--ring-mib", "3"], "power of two"),
        (&["report"], "Usage"),
    ] {
        let answer = end_of(&mut probe(arguments)?)?;
        ensure!(answer.code == Some(2) && answer.stdout.is_empty(), "{arguments:?}: {answer:?}");
        ensure!(answer.stderr.contains(word), "{arguments:?}, `{word}`: {answer:?}");
    }
    Ok(())
}

/// Unknown keys and impossible values are told together, each with its line, before anything else.
fn all_errors_of_a_profile() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("bad.toml");
    let text = "\
nmae = \"x\"

[[objective]]
id = \"slow\"
metric = \"latency.p95\"
target = \"2s\"
limit = \"1s\"

[[objective]]
id = \"slow\"
metric = \"error_rate\"
target = \"-1%\"
limit = \"200%\"
treshold = 3
";
    fs::write(&path, text)?;
    let file = path.to_str().context("a temporary folder that is not UTF-8")?;
    // The pid is no process either, but the profile comes first.
    let mut command = probe(&["attach", "--pid", "4194305", "--profile", file])?;
    let places = [":1:", ":7:", ":10:", ":12:", ":14:"].map(|place| format!("{file}{place}"));
    let mut words: Vec<&str> = places.iter().map(String::as_str).collect();
    words.extend(["7 errors", "unknown key `nmae`", "unknown key `treshold`", "stricter", "negative"]);
    refused(&mut command, 2, &words)?;
    Ok(())
}

fn a_profile_that_is_not_there() -> Result<()> {
    let mut command = probe(&["attach", "--pid", "1", "--profile", "/nonexistent/slo.toml"])?;
    refused(&mut command, 2, &["failed to read profile `/nonexistent/slo.toml`", "No such file"])?;
    Ok(())
}

/// An output directory that cannot take the run is refused before the run, and is not touched.
fn output_directories() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let used = folder.path().join("used");
    fs::create_dir(&used)?;
    fs::write(used.join("report.json"), "mine")?;
    let used = used.to_str().context("a temporary folder that is not UTF-8")?;
    for (directory, word) in
        [(used.to_owned(), "already exists and is not empty"), (format!("{used}/report.json/run"), "a file")]
    {
        refused(&mut probe(&["attach", "--pid", "1", "--out", &directory])?, 2, &[word, &directory])?;
    }
    ensure!(fs::read_to_string(format!("{used}/report.json"))? == "mine");
    ensure!(fs::read_dir(used)?.count() == 1);
    Ok(())
}
