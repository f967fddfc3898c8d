//! A child that does one thing over and over, so that what it takes can be timed while others watch it.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Instant,
};

use anyhow::{Context as _, Result};

use crate::{calls, files, statements};

/// How often the child is asked for one measurement.
pub(crate) const TRIES: u32 = 5;

/// The child's side: for every line on stdin nanoseconds of one turn on stdout.
pub(crate) fn make(what: &str) -> Result<()> {
    let (part, kind) = what.split_once('/').context("no such thing")?;
    match part {
        "calls" => calls::make(kind),
        "files" => files::make(kind),
        _ => statements::make(kind),
    }
}

/// Times `turns` turns for each line on stdin.
pub(crate) fn timed(turns: u32, mut act: impl FnMut() -> Result<()>) -> Result<()> {
    for line in std::io::stdin().lines() {
        line?;
        let began = Instant::now();
        for _ in 0..turns {
            act()?;
        }
        println!("{}", began.elapsed().as_nanos() as f64 / f64::from(turns));
    }
    Ok(())
}

/// Our side.
pub(crate) struct Repeat {
    child: Child,
    ask: Option<ChildStdin>,
    answer: BufReader<ChildStdout>,
}

impl Repeat {
    pub(crate) fn start(what: &str) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--repeat", what])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("failed to start the child")?;
        let ask = child.stdin.take();
        let answer = BufReader::new(child.stdout.take().context("the child has no stdout")?);
        Ok(Self { child, ask, answer })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Nanoseconds of a turn, the shortest of a few, against what else the machine does.
    pub(crate) fn turn_ns(&mut self) -> Result<f64> {
        let mut shortest = f64::INFINITY;
        for _ in 0..TRIES {
            writeln!(self.ask.as_mut().context("the child has no stdin")?)?;
            let mut line = String::new();
            self.answer.read_line(&mut line)?;
            shortest = shortest.min(line.trim().parse().context("the child ended")?);
        }
        Ok(shortest)
    }
}

impl Drop for Repeat {
    fn drop(&mut self) {
        // The end of its input is its end.
        drop(self.ask.take());
        let _gone = self.child.wait();
    }
}
