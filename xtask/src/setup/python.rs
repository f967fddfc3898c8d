//! The Python environment of the sample pipeline and its load, and the PDF files that the load uploads.
//!
//! Both lie in the cache under names that hold a digest of what they are made from: a changed requirement makes a new
//! environment, and two checkouts don't disturb each other.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::Ready;
use super::board::Board;
use crate::{exec, paths};

const REQUIREMENTS: &str = "tests/targets/docpipeline/requirements.txt";
/// What only the tests need, each in a folder of its own inside the environment: two versions of one package may be
/// among them.
const EXTRAS: [(&str, &str); 3] = [
    ("servers", "tests/targets/servers/requirements.txt"),
    ("uvloop", "tests/targets/servers/uvloop.txt"),
    ("locks", "tests/targets/locks/requirements.txt"),
];
/// What the corpus is made by.
const CORPUS_SOURCES: [&str; 2] =
    ["tests/targets/docpipeline/corpus.py", "tests/targets/docpipeline/drawing.py"];
const PIP: [&str; 7] =
    ["-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--progress-bar", "off"];
/// Written last: a directory without it is what an interrupted set-up left.
const COMPLETE: &str = ".complete";
/// First those for which the pinned packages have wheels.
const INTERPRETERS: [&str; 6] =
    ["python3", "/usr/bin/python3", "python3.13", "python3.12", "python3.11", "python3.14"];
const OLDEST_MINOR: u32 = 11;

/// What is there, and what has to be made.
pub(super) struct Plan {
    venv: PathBuf,
    corpus: PathBuf,
    /// None when the environment is complete.
    interpreter: Option<Interpreter>,
}

struct Interpreter {
    path: PathBuf,
    maker: Maker,
}

/// How an interpreter makes an environment with pip in it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Maker {
    Venv,
    Virtualenv,
    /// Debian splits the part of `venv` that installs pip off into a package.
    VenvFromPackage,
}

impl Plan {
    pub(super) fn new(cache: &Path) -> Result<Self> {
        let requirements = digest(&[REQUIREMENTS])?;
        let corpus = cache.join(format!("corpus-{}", digest(&CORPUS_SOURCES)?));
        let venv = cache.join(format!("venv-{requirements}"));
        let works = || exec::succeeds(exec::command(venv.join("bin/python")).args(["-S", "-c", ""]));
        let complete = venv.join(COMPLETE).exists() && works();
        let interpreter = if complete { None } else { Some(find_interpreter()?) };
        Ok(Self { venv, corpus, interpreter })
    }

    /// Debian packages that must be there first.
    pub(super) fn packages(&self) -> Vec<&'static str> {
        let needs = self.interpreter.as_ref().is_some_and(|python| python.maker == Maker::VenvFromPackage);
        if needs { vec!["python3-venv"] } else { Vec::new() }
    }

    pub(super) fn ensure(&self, board: &Board) -> Result<Ready> {
        let python = self.venv.join("bin/python");
        if let Some(interpreter) = &self.interpreter {
            board.step("Python packages", |log| self.make_venv(interpreter, &python, log))?;
        }
        if !self.corpus.join(COMPLETE).exists() {
            board.step("PDF corpus", |log| self.make_corpus(&python, log))?;
        }
        Ok(Ready { python, corpus: self.corpus.clone() })
    }

    /// Installs what only the tests need.
    pub(super) fn ensure_extras(&self, board: &Board) -> Result<()> {
        for (name, requirements) in EXTRAS {
            let folder = self.venv.join(format!("{name}-{}", digest(&[requirements])?));
            if folder.join(COMPLETE).exists() {
                continue;
            }
            board.step(&format!("Python packages, {name}"), |log| {
                remove(&folder)?;
                let mut pip = exec::command(self.venv.join("bin/python"));
                pip.args(PIP).args(["--no-deps", "--only-binary", ":all:", "-r", requirements, "--target"]);
                exec::logged(pip.arg(&folder), log)
                    .with_context(|| format!("failed to install `{requirements}`"))?;
                mark_complete(&folder)
            })?;
        }
        Ok(())
    }

    fn make_venv(&self, interpreter: &Interpreter, python: &Path, log: &Path) -> Result<()> {
        remove(&self.venv)?;
        let module = if interpreter.maker == Maker::Virtualenv { "virtualenv" } else { "venv" };
        exec::logged(exec::command(&interpreter.path).args(["-m", module]).arg(&self.venv), log)
            .context("failed to make a Python environment\ninstall python3-venv, or virtualenv")?;
        let mut pip = exec::command(python);
        pip.args(PIP);
        // A source package would need compilers that nobody installed: better a clear error than a long one.
        pip.args(["--only-binary", ":all:", "-r", REQUIREMENTS]);
        exec::logged(&mut pip, log).with_context(|| {
            format!("failed to install `{REQUIREMENTS}`\nit needs a package index and Python 3.{OLDEST_MINOR} to 3.13")
        })?;
        mark_complete(&self.venv)
    }

    fn make_corpus(&self, python: &Path, log: &Path) -> Result<()> {
        remove(&self.corpus)?;
        let mut command = exec::command(python);
        command.args(["-m", "docpipeline.corpus"]).arg(&self.corpus).args(["--set", "demo"]);
        exec::logged(command.current_dir(paths::root().join("tests/targets")), log)?;
        mark_complete(&self.corpus)
    }
}

fn find_interpreter() -> Result<Interpreter> {
    const QUESTION: &str = "import sys, importlib.util as u; \
        print(sys.version_info[1], sys.executable, bool(u.find_spec('ensurepip')), bool(u.find_spec('virtualenv')))";
    for name in INTERPRETERS {
        let Ok(answer) = exec::capture(exec::command(name).args(["-c", QUESTION])) else { continue };
        if let Some(interpreter) = parse_interpreter(&answer) {
            return Ok(interpreter);
        }
    }
    bail!(
        "failed to find a Python from 3.{OLDEST_MINOR} on\ninstall one: apt-get install python3 python3-venv"
    )
}

fn parse_interpreter(answer: &str) -> Option<Interpreter> {
    let (minor, rest) = answer.split_once(' ')?;
    let (rest, virtualenv) = rest.rsplit_once(' ')?;
    let (path, ensurepip) = rest.rsplit_once(' ')?;
    if minor.parse::<u32>().ok()? < OLDEST_MINOR {
        return None;
    }
    let maker = match (ensurepip, virtualenv) {
        ("True", _) => Maker::Venv,
        (_, "True") => Maker::Virtualenv,
        _ => Maker::VenvFromPackage,
    };
    Some(Interpreter { path: path.into(), maker })
}

/// FNV-1a over the files: it only has to tell versions of them apart.
fn digest(files: &[&str]) -> Result<String> {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for file in files {
        let bytes = fs::read(paths::root().join(file)).with_context(|| format!("failed to read `{file}`"))?;
        for byte in bytes {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    Ok(format!("{hash:016x}"))
}

fn remove(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("failed to remove `{}`", dir.display()))
        }
        _ => Ok(()),
    }
}

fn mark_complete(dir: &Path) -> Result<()> {
    fs::write(dir.join(COMPLETE), []).with_context(|| format!("failed to write to `{}`", dir.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chooses_how_to_make_an_environment() {
        let maker = |answer: &str| parse_interpreter(answer).map(|found| found.maker);
        assert!(maker("11 /usr/bin/python3 True False") == Some(Maker::Venv));
        assert!(maker("13 /opt/my python/bin/python3 False True") == Some(Maker::Virtualenv));
        assert!(maker("12 /usr/bin/python3 False False") == Some(Maker::VenvFromPackage));
        assert!(maker("9 /usr/bin/python3 True True").is_none());
        assert!(maker("").is_none());
    }
}
