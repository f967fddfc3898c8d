//! `cargo xtask COMMAND`: everything that developers and CI do with this repository, one module per command.

mod bench;
mod between;
mod clean;
mod cross;
mod demo;
mod docs;
mod exec;
mod fuzz;
mod lint;
mod paths;
mod say;
mod setup;
mod stop;
mod test;
mod tidy;
mod vm;

use std::process::ExitCode;

use anyhow::{Result, bail};
use lexopt::prelude::*;

use say::say;

enum Command {
    Setup,
    Demo(demo::Options),
    Test,
    Bench,
    Fuzz,
    Docs,
    Vm(vm::Options),
    Lint,
    Tidy,
    Deny,
    Cross(cross::Options),
    Clean(clean::Scope),
}

fn help() -> String {
    format!(
        "Usage: cargo xtask COMMAND [OPTIONS]\n\n\
         \x20 setup   install what is missing: rust-src, bpf-linker, a Python environment, test programs\n\
         \x20 demo    set up, build, watch the sample pipeline under load, show the report\n{}\
         \x20 test    set up, run every test (those that need root under sudo)\n{}\
         \x20 bench   what probe costs on this machine\n{}\
         \x20 fuzz    let libFuzzer try everything that reads what others wrote\n{}\
         \x20 docs    write the README's tables of what is seen\n\
         \x20 vm      run a command as root under another kernel, on this machine's files\n{}\
         \x20 lint    rustfmt, clippy for both sides, tidy\n\
         \x20 tidy    the house rules that a program can check\n\
         \x20 deny    licences and known holes of the dependencies (needs cargo-deny)\n\
         \x20 cross   check that both sides compile for arm64 (needs rustup)\n{}\
         \x20 clean   remove what setup keeps in the cache directory\n{}",
        demo::OPTIONS,
        test::OPTIONS,
        bench::OPTIONS,
        fuzz::OPTIONS,
        vm::OPTIONS,
        cross::OPTIONS,
        clean::OPTIONS,
    )
}

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            say!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Gives a failure where a command has said itself what failed.
fn run() -> Result<ExitCode> {
    let wants_help = std::env::args().take_while(|arg| arg != "--").any(|arg| arg == "--help" || arg == "-h");
    let mut args = lexopt::Parser::from_env();
    let command = if wants_help { None } else { parse(&mut args)? };
    let Some(command) = command else {
        say!("{}", help());
        return Ok(ExitCode::SUCCESS);
    };
    stop::watch()?;
    match command {
        Command::Setup => setup::run(setup::Goal::Tests, &[]).map(drop),
        Command::Demo(options) => demo::run(&options),
        Command::Test => {
            return Ok(if test::run(&mut args)? { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Command::Vm(options) => return vm::run(&options),
        Command::Bench => bench::run(&mut args),
        Command::Fuzz => fuzz::run(&mut args),
        Command::Docs => docs::run(),
        Command::Lint => lint::run(),
        Command::Tidy => tidy::run(),
        Command::Deny => lint::deny(),
        Command::Cross(options) => cross::run(options),
        Command::Clean(scope) => clean::run(scope),
    }?;
    Ok(ExitCode::SUCCESS)
}

/// The command, or none where the user wants help.
fn parse(args: &mut lexopt::Parser) -> Result<Option<Command>> {
    let name = match args.next()? {
        Some(Value(name)) => name.string()?,
        None => return Ok(None),
        Some(other) => return Err(other.unexpected().into()),
    };
    let command = match name.as_str() {
        "setup" => Command::Setup,
        "demo" => return Ok(Some(Command::Demo(demo::Options::parse(args)?))),
        "test" => return Ok(Some(Command::Test)),
        "vm" => return Ok(Some(Command::Vm(vm::Options::parse(args)?))),
        "bench" => return Ok(Some(Command::Bench)),
        "fuzz" => return Ok(Some(Command::Fuzz)),
        "docs" => Command::Docs,
        "lint" => Command::Lint,
        "tidy" => Command::Tidy,
        "deny" => Command::Deny,
        "cross" => return Ok(Some(Command::Cross(cross::Options::parse(args)?))),
        "clean" => return Ok(Some(Command::Clean(clean::Scope::parse(args)?))),
        "help" => return Ok(None),
        _ => bail!("failed to find the command `{name}`\n\n{}", help()),
    };
    match args.next()? {
        Some(other) => Err(other.unexpected().into()),
        None => Ok(Some(command)),
    }
}
