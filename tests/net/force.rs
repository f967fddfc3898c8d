//! What is asked for is what sockets meet.

use std::{
    fs,
    net::{TcpListener, UdpSocket},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::{Signal, kill};
use probe::inject::injector::HEARTBEAT;
use probe_tests::{host, say::say, wait};

use crate::{
    Suite,
    bench::{
        self, Injection, TWO_PERCENT_REPEATED, arrivals, goodput, is_plausible, look, repeated_share,
        round_trip, run, udp_echo, undisturbed,
    },
    pair::{HERE, Pair, THERE},
};

pub(crate) fn add_to(suite: &mut Suite) {
    suite.add("force::rate_within_five_percent", rate);
    suite.add("force::loss_within_the_binomial_interval", loss);
    suite.add("force::killed_under_load", killed);
    suite.add("force::one_port_and_not_the_other", one_port);
    suite.add("force::what_comes_in_on_a_veth", incoming);
    suite.add_netem("force::delay_within_five_percent", delay);
    suite.add_netem("force::loss_over_tcp", loss_over_tcp);
    suite.add_netem("force::steps_are_followed", steps);
}

/// The burst is what a machine that stands still for a fifth of a second catches up with; the mean is the rate.
fn rate() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port().to_string();
    let arguments = ["--dev", "lo", "--set", "rate=8mbit", "--set", "burst=200kB", "--port", &port];
    let mut injection = Injection::start(&arguments)?;
    let on_wire = goodput(&listener, 600_000, 4_000_000)? / bench::TCP_SHARE;
    ensure!((on_wire / 1e6 - 1.0).abs() < 0.05, "{on_wire} bytes/s, asked 1000000");
    let ended = injection.stop()?;
    let proof = format!("{} {}", ended.proof, ended.stderr);
    ensure!(host::is_emulated() || ended.code == Some(0) && proof.contains("device lo: proved"), "{proof}");
    Ok(())
}

/// 5 000 packets one way. Without sch_netem a program at ingress loses them, and the proof says so.
fn loss() -> Result<()> {
    let server = UdpSocket::bind("127.0.0.1:0")?;
    let port = server.local_addr()?.port().to_string();
    let arguments = ["--dev", "lo", "--set", "loss=2%", "--port", &port, "--only", "up"];
    let mut injection = Injection::start(&arguments)?;
    let lost = 5000 - arrivals(server, 5000)?;
    ensure!(is_plausible(lost, 5000, 0.02), "{lost} of 5000 lost, asked 2 %");
    let ended = injection.stop()?;
    ensure!(ended.proof.contains("5000 packets"), "{}", ended.proof);
    Ok(())
}

fn loss_over_tcp() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port().to_string();
    let arguments =
        ["--dev", "lo", "--set", "loss=2%", "--set", "delay=1ms", "--port", &port, "--only", "up"];
    let mut injection = Injection::start(&arguments)?;
    let share = repeated_share(&listener)?;
    ensure!(TWO_PERCENT_REPEATED.contains(&share), "{share} of the segments repeated, asked 2 %");
    injection.stop()?;
    Ok(())
}

fn delay() -> Result<()> {
    let echo = udp_echo("127.0.0.1:0")?;
    let clean = undisturbed(echo, 31, 100)?;
    let port = echo.port().to_string();
    for ms in [20, 100] {
        let up = format!("up.delay={ms}ms");
        let arguments = ["--dev", "lo", "--set", &up, "--set", "down.delay=10ms", "--port", &port];
        let mut injection = Injection::start(&arguments)?;
        let added = undisturbed(echo, 31, 100)?.saturating_sub(clean);
        let asked = Duration::from_millis(ms + 10);
        let allowed = (asked / 20).max(Duration::from_millis(2));
        ensure!(added.abs_diff(asked) <= allowed, "{added:?}, asked {asked:?}");
        let ended = injection.stop()?;
        ensure!(ended.code == Some(0), "{} {}", ended.proof, ended.stderr);
    }
    Ok(())
}

fn steps() -> Result<()> {
    let echo = udp_echo("127.0.0.1:0")?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("steps.toml");
    fs::write(&file, "name = \"steps\"\ndelay = \"5ms\"\n[[step]]\nat = \"6s\"\ndelay = \"60ms\"\n")?;
    let port = echo.port().to_string();
    let file = file.to_str().context("not UTF-8")?;
    let mut injection = Injection::start(&[file, "--dev", "lo", "--port", &port])?;
    wait::until("the step", bench::APPLIED, || {
        let now = round_trip(echo, 5, 100)?;
        Ok((now > Duration::from_millis(115)).then_some(()))
    })?;
    injection.stop()?;
    Ok(())
}

fn one_port() -> Result<()> {
    let (slow, fast) = (udp_echo("127.0.0.1:0")?, udp_echo("127.0.0.1:0")?);
    let port = slow.port().to_string();
    let mut injection = Injection::start(&["--dev", "lo", "--set", "rate=80kbit", "--port", &port])?;
    // A packet of 1242 bytes takes 124 ms, after the burst; while one way waits the other saves up for the next.
    round_trip(slow, 6, 1200)?;
    let (slow, fast) = (round_trip(slow, 5, 1200)?, round_trip(fast, 21, 1200)?);
    ensure!(slow > Duration::from_millis(100) && fast < Duration::from_millis(20), "{slow:?} {fast:?}");
    injection.stop()?;
    Ok(())
}

/// SIGKILL while packets wait. Where the kernel holds the program by a link it is gone with the process: packets sent after
/// that pass at once. Else they pass from the program's own deadline on. The guard puts everything back.
fn killed() -> Result<()> {
    let before = look("lo")?;
    let echo = udp_echo("127.0.0.1:0")?;
    let port = echo.port().to_string();
    let arguments = ["--dev", "lo", "--set", "rate=80kbit", "--port", &port];
    let (mut clean, mut last_held) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let mut injection = Injection::start(&arguments)?;
        round_trip(echo, 6, 1200)?;
        ensure!(round_trip(echo, 3, 1200)? > HELD, "not in force");
        // Without its guard, so that only the kernel can have cleaned. (One that is only stopped goes on when its parent
        // dies, and what is on its way through a queue that is taken away is lost.)
        kill(injection.guard()?, Signal::SIGKILL)?;
        let start = Instant::now();
        injection.signal(Signal::SIGKILL)?;
        if bench::has_tcx()? {
            injection.ended()?;
            clean.push(start.elapsed());
            let took = round_trip(echo, 3, 1200)?;
            ensure!(took < HELD, "{took:?} after the process had ended");
        } else {
            let mut held = Duration::ZERO;
            let first = wait::until("the deadline", wait::SOON, || {
                let sent = start.elapsed();
                if round_trip(echo, 3, 1200)? < HELD {
                    return Ok(Some(sent));
                }
                held = sent;
                Ok(None)
            })?;
            clean.push(first);
            last_held.push(held);
            injection.ended()?;
        }
        bench::net(&["clear"], &injection.state)?.output()?;
        ensure!(look("lo")? == before, "{}", look("lo")?);
    }
    say(&format!("    clean {clean:.2?} after the kill"));
    // The middle one: another program may have had the processor.
    last_held.sort_unstable();
    if let Some(held) = last_held.get(1) {
        ensure!(*held <= HEARTBEAT, "packets sent {held:?} after the kill were held");
    }
    // With its guard: everything is as it was, without anybody's help.
    let mut injection = Injection::start(&arguments)?;
    injection.signal(Signal::SIGKILL)?;
    injection.ended()?;
    wait::until("the guard", wait::SOON, || Ok((look("lo")? == before).then_some(())))
}

/// Under 80 kbit/s a packet of 1242 bytes takes 124 ms, but for one on credit; without, far below one.
const HELD: Duration = Duration::from_millis(100);

/// Packets that come in wait in a device between, and only those of the service's port.
fn incoming() -> Result<()> {
    let _pair = Pair::new()?;
    let before = look(HERE.0)?;
    let arguments = ["--dev", HERE.0, "--set", "up.rate=4mbit", "--echo", THERE.1, "--proto", "icmp"];
    let mut injection = Injection::start(&arguments)?;
    ensure!(run("ip", &["link", "show"])?.contains("probe-ifb"), "no device between");
    ensure!(injection.stderr()?.contains("in force, proved"), "{}", injection.stderr()?);
    // 100 answers of 1242 bytes at 500 000 bytes/s take 248 ms; without the condition a few.
    let ping = ["-q", "-c", "3", "-i", "0.2", THERE.1];
    let _traffic = run("ping", &ping);
    injection.stop()?;
    let after = look(HERE.0)?;
    ensure!(after == before, "{before}\nbecame\n{after}");
    Ok(())
}
