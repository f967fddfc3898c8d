//! Each kind of impairment: what the kernel says was set, in `tc`'s words, and what it does to sockets.

use std::{
    collections::BTreeSet,
    fs,
    net::{TcpListener, UdpSocket},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::{
    Suite,
    bench::{self, Injection, counter, goodput, is_plausible, run, udp_echo, undisturbed},
};

pub(crate) fn add_to(suite: &mut Suite) {
    suite.add_netem("kinds::every_value_reads_back", every_value);
    suite.add_netem("kinds::duplication", duplication);
    suite.add_netem("kinds::corruption", corruption);
    suite.add_netem("kinds::reordering", reordering);
    suite.add_netem("kinds::four_states", four_states);
    suite.add_netem("kinds::bursts_of_losses", bursts);
    suite.add_netem("kinds::a_distribution_from_a_file", distribution);
    suite.add_netem("kinds::marks_instead_of_losses", marks);
    suite.add_netem("kinds::a_link_that_flaps", flapping);
    suite.add_netem("kinds::a_ramp", ramp);
    suite.add("kinds::a_recorded_trace", trace);
}

/// A condition's file and what lies beside it.
pub(crate) fn file(text: &str, beside: &[(&str, &str)]) -> Result<(tempfile::TempDir, String)> {
    let folder = tempfile::tempdir()?;
    for (name, text) in beside {
        fs::write(folder.path().join(name), text)?;
    }
    let path = folder.path().join("condition.toml");
    fs::write(&path, format!("name = \"kind\"\n{text}\n"))?;
    let path = path.to_str().context("not UTF-8")?.to_owned();
    Ok((folder, path))
}

/// The options of the netem of a class on lo: 2 for up, 3 for down.
fn netem(class: u8) -> Result<Value> {
    let text = run("tc", &["-j", "-d", "qdisc", "show", "dev", "lo"])?;
    let all: Vec<Value> = serde_json::from_str(&text).with_context(|| text.clone())?;
    let handle = format!("52{class:02}:");
    let found = all.into_iter().find(|qdisc| qdisc["handle"] == handle.as_str());
    Ok(found.with_context(|| format!("no netem {handle}: {text}"))?["options"].clone())
}

fn near(options: &Value, pointer: &str, expected: f64) -> Result<()> {
    let found = options.pointer(pointer).and_then(Value::as_f64);
    let is_near = found.is_some_and(|found| (found - expected).abs() <= 1e-6 + 1e-6 * expected.abs());
    ensure!(is_near, "{pointer} is {found:?}, not {expected}: {options:#}");
    Ok(())
}

fn every_value() -> Result<()> {
    let (_folder, all) = file(
        "delay = \"50ms\"\njitter = \"5ms\"\ndelay_correlation = \"25%\"\n\
         loss = { probability = 0.01, correlation = 0.3 }\n\
         reorder = { probability = 0.1, correlation = 0.35 }\ngap = 5\n\
         corrupt = { probability = 0.005, correlation = 0.05 }\nseed = 77\n\
         [up]\nloss_bursts = { p = 0.01, r = 0.2, bad = 0.8, good = 0.005 }\necn = true\n",
        &[],
    )?;
    let mut injection = Injection::start(&[&all, "--dev", "lo", "--port", "8000"])?;
    let down = netem(3)?;
    for (pointer, expected) in [
        ("/delay/delay", 0.05),
        ("/delay/jitter", 0.005),
        ("/delay/correlation", 0.25),
        ("/loss-random/loss", 0.01),
        ("/loss-random/correlation", 0.3),
        ("/reorder/reorder", 0.1),
        ("/reorder/correlation", 0.35),
        ("/corrupt/corrupt", 0.005),
        ("/corrupt/correlation", 0.05),
        ("/gap", 5.0),
    ] {
        near(&down, pointer, expected)?;
    }
    let up = netem(2)?;
    for (key, expected) in [("p", 0.01), ("r", 0.2), ("1-h", 0.8), ("1-k", 0.005)] {
        near(&up, &format!("/loss-gemodel/{key}"), expected)?;
    }
    ensure!(up["ecn"] == true, "{up:#}");
    // 10 Gbit/s for 50 ms and four deviations of 5 ms, half as much again: 87500 packets of 1500 bytes, and the queue.
    near(&down, "/limit", 88_500.0)?;
    injection.stop()?;
    // Alone: kernels since the summer of 2025 have no second netem beside one that duplicates.
    let (_folder, twice) = file("duplicate = { probability = 0.02, correlation = 0.1 }", &[])?;
    let mut injection = Injection::start(&[&twice, "--dev", "lo", "--port", "8000", "--only", "down"])?;
    let down = netem(3)?;
    near(&down, "/duplicate/duplicate", 0.02)?;
    near(&down, "/duplicate/correlation", 0.1)?;
    injection.stop()?;
    let (_folder, states) = file(
        "loss_states = { p13 = 0.01, p31 = 0.2, p32 = 0.3, p23 = 0.4, p14 = 0.02 }\nrate = \"8mbit\"\nqueue = 33\n",
        &[],
    )?;
    let mut injection = Injection::start(&[&states, "--dev", "lo", "--port", "8000"])?;
    let up = netem(2)?;
    for (key, expected) in [("p13", 0.01), ("p31", 0.2), ("p32", 0.3), ("p23", 0.4), ("p14", 0.02)] {
        near(&up, &format!("/loss-state/{key}"), expected)?;
    }
    let classes = run("tc", &["class", "show", "dev", "lo"])?;
    ensure!(classes.matches("rate 8Mbit ceil 8Mbit burst 10000b").count() == 2, "{classes}");
    let queues = run("tc", &["qdisc", "show", "dev", "lo"])?;
    ensure!(queues.matches("limit 33p").count() == 2, "{queues}");
    injection.stop()?;
    Ok(())
}

/// What arrives of numbered packets of a size, in its order; each either whole or not at all.
fn arrived(text: &str, count: u32, payload: usize, pause: Duration) -> Result<Vec<u32>> {
    let server = UdpSocket::bind("127.0.0.1:0")?;
    server.set_read_timeout(Some(Duration::from_secs(2)))?;
    let addr = server.local_addr()?;
    let (_folder, path) = file(text, &[])?;
    let mut injection =
        Injection::start(&[&path, "--dev", "lo", "--port", &addr.port().to_string(), "--only", "up"])?;
    let receiver = thread::spawn(move || {
        let (mut got, mut buffer, mut is_whole) = (Vec::new(), [0; 2048], true);
        while let Ok(length) = server.recv(&mut buffer) {
            got.push(u32::from_be_bytes([buffer[0], buffer[1], buffer[2], buffer[3]]));
            is_whole &= length == payload && buffer[4..length].iter().all(|byte| *byte == 7);
        }
        (got, is_whole)
    });
    let client = UdpSocket::bind("127.0.0.1:0")?;
    let mut packet = vec![7; payload];
    for number in 0..count {
        packet[..4].copy_from_slice(&number.to_be_bytes());
        client.send_to(&packet, addr)?;
        // sleep: the time between two packets is part of what is tested
        thread::sleep(pause);
    }
    let (got, is_whole) = receiver.join().map_err(|_| anyhow::anyhow!("the receiver panicked"))?;
    ensure!(is_whole, "a packet arrived that was never sent");
    injection.stop()?;
    Ok(got)
}

/// Of how many packets `n` in a row behave like one independent draw, for a two-state chain.
fn draws(n: u32, p: f64, r: f64) -> f64 {
    let memory = 1.0 - p - r;
    f64::from(n) * (1.0 - memory) / (1.0 + memory)
}

fn is_share(lost: u32, n: u32, share: f64, draws: f64) -> bool {
    let found = f64::from(lost) / f64::from(n);
    (found - share).abs() <= 2.576 * (share * (1.0 - share) / draws).sqrt() + 0.5 / f64::from(n)
}

const SOME: u32 = 4000;
const SHORT: Duration = Duration::from_micros(200);

fn duplication() -> Result<()> {
    let got = arrived("duplicate = \"5%\"", SOME, 64, SHORT)?;
    let twice = u32::try_from(got.len())?.checked_sub(SOME).context("some were lost")?;
    ensure!(is_plausible(twice, SOME, 0.05), "{twice} of {SOME} came twice, asked 5 %");
    ensure!(got.iter().collect::<BTreeSet<_>>().len() == SOME as usize);
    Ok(())
}

/// A flipped bit fails the checksum, wherever it is but in the sender's link address: 6 of 1242 bytes.
fn corruption() -> Result<()> {
    let n = 3000;
    let got = arrived("corrupt = \"4%\"", n, 1200, SHORT)?;
    let lost = n - u32::try_from(got.len())?;
    ensure!(is_share(lost, n, 0.04, f64::from(n) * 0.9), "{lost} of {n} were broken, asked 4 %");
    Ok(())
}

/// One in four passes all that still waits.
fn reordering() -> Result<()> {
    let got = arrived("delay = \"30ms\"\nreorder = \"25%\"", SOME, 64, Duration::from_millis(1))?;
    ensure!(got.len() == SOME as usize, "{} of {SOME} arrived", got.len());
    // Early is who comes before somebody who was sent before.
    let mut least = u32::MAX;
    let mut early = 0;
    for number in got.iter().rev() {
        early += u32::from(*number > least);
        least = least.min(*number);
    }
    ensure!(is_plausible(early, SOME, 0.25), "{early} of {SOME} came early, asked 25 %");
    Ok(())
}

fn four_states() -> Result<()> {
    let got = arrived("loss_states = { p13 = 0.05, p31 = 0.5, p14 = 0.01 }", SOME, 64, SHORT)?;
    let lost = SOME - u32::try_from(got.len())?;
    // In a gap 1, in a burst of losses 0.05 / 0.5, alone 0.01: the share of the last two.
    let share = 0.11 / 1.11;
    ensure!(is_share(lost, SOME, share, draws(SOME, 0.06, 0.5)), "{lost} of {SOME} lost, asked {share}");
    Ok(())
}

fn bursts() -> Result<()> {
    let got = arrived("loss_bursts = { p = 0.02, r = 0.25 }", SOME, 64, SHORT)?;
    let lost = SOME - u32::try_from(got.len())?;
    let share = 0.02 / 0.27;
    ensure!(is_share(lost, SOME, share, draws(SOME, 0.02, 0.25)), "{lost} of {SOME} lost, asked {share}");
    // Four in a row at a time, on average: far fewer gaps than losses.
    let gaps = got.windows(2).filter(|pair| pair[1] != pair[0] + 1).count();
    ensure!(gaps * 2 < lost as usize, "{lost} lost in {gaps} bursts");
    Ok(())
}

/// A table that says "one deviation more" for every packet: the delay is known to the last.
fn distribution() -> Result<()> {
    let echo = udp_echo("127.0.0.1:0")?;
    let clean = undisturbed(echo, 31, 100)?;
    let table = "# always the same\n".to_owned() + &"8192\n".repeat(100);
    let text = "[up]\ndelay = \"20ms\"\njitter = \"10ms\"\ndistribution = \"table.dist\"\n";
    let (_folder, path) = file(text, &[("table.dist", &table)])?;
    let mut injection = Injection::start(&[&path, "--dev", "lo", "--port", &echo.port().to_string()])?;
    let added = undisturbed(echo, 31, 100)?.saturating_sub(clean);
    ensure!(added.abs_diff(Duration::from_millis(30)) <= Duration::from_millis(2), "{added:?}, asked 30 ms");
    injection.stop()?;
    Ok(())
}

/// Segments that can be marked are, and none of them is lost.
fn marks() -> Result<()> {
    fs::write("/proc/sys/net/ipv4/tcp_ecn", "1")?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let (_folder, path) = file("loss = \"10%\"\necn = true\ndelay = \"1ms\"", &[])?;
    let port = listener.local_addr()?.port().to_string();
    let mut injection = Injection::start(&[&path, "--dev", "lo", "--port", &port, "--only", "up"])?;
    let marked = |name| counter("netstat", "IpExt: ", name);
    let before = (marked("InCEPkts")?, marked("InECT0Pkts")?);
    goodput(&listener, 0, 3_000_000)?;
    let (marked, rest) = (marked("InCEPkts")? - before.0, marked("InECT0Pkts")? - before.1);
    let all = u32::try_from(marked + rest)?;
    ensure!(
        all > 1000 && is_plausible(u32::try_from(marked)?, all, 0.1),
        "{marked} of {all} marked, asked 10 %"
    );
    injection.stop()?;
    Ok(())
}

/// Away for 400 ms of every second: all losses lie together.
fn flapping() -> Result<()> {
    let got = arrived("flap = { every = \"1s\", away = \"400ms\" }\n", 2000, 64, Duration::from_millis(2))?;
    let gaps: Vec<u32> = got.windows(2).map(|pair| pair[1] - pair[0] - 1).filter(|lost| *lost > 0).collect();
    ensure!(gaps.len() >= 3 && gaps.iter().all(|lost| *lost > 20), "{gaps:?}");
    Ok(())
}

/// From 10 ms to 60 ms in 20 s: `tc` shows values between, in order, and the last one.
fn ramp() -> Result<()> {
    let text = "[up]\ndelay = \"10ms\"\n[[step]]\nat = \"4s\"\nover = \"8s\"\nup = { delay = \"60ms\" }\n";
    let (_folder, path) = file(text, &[])?;
    let mut injection = Injection::start(&[&path, "--dev", "lo", "--port", "8000"])?;
    let mut seen: Vec<f64> = Vec::new();
    probe_tests::wait::until("the end of the ramp", bench::APPLIED, || {
        let now = netem(2)?.pointer("/delay/delay").and_then(Value::as_f64).context("no delay")?;
        if seen.last().is_none_or(|last| (*last - now).abs() > 1e-9) {
            seen.push(now);
        }
        Ok(((now - 0.06).abs() < 1e-6).then_some(()))
    })?;
    injection.stop()?;
    ensure!(seen.is_sorted() && seen.len() > 4, "{seen:?}");
    Ok(())
}

/// A packet of 1504 bytes each 6 ms, then for a while each 3 ms: `tc` sees both, and TCP gets the mean.
fn trace() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port().to_string();
    let slow = (0..100).map(|n| n * 6);
    let fast = (0..200).map(|n| 600 + n * 3);
    let times: Vec<String> = slow.chain(fast).chain([1200]).map(|ms: u32| ms.to_string()).collect();
    let times = times.join("\n");
    let (_folder, path) = file("queue = 100\ntrace = { up = \"trace.mahi\" }\n", &[("trace.mahi", &times)])?;
    let mut injection = Injection::start(&[&path, "--dev", "lo", "--port", &port])?;
    let mut rates = BTreeSet::new();
    probe_tests::wait::until("both rates", bench::APPLIED, || {
        let classes = run("tc", &["class", "show", "dev", "lo"])?;
        let found = classes.lines().find(|line| line.contains("504f:2 ")).context("no class")?;
        let rate = found.split_whitespace().skip_while(|word| *word != "rate").nth(1).context("no rate")?;
        rates.insert(rate.to_owned());
        let is_there = |low: &str| rates.iter().any(|rate| rate.starts_with(low));
        Ok((is_there("20") && is_there("40")).then_some(()))
    })?;
    // 301 packets in 1.2 s, over several periods.
    let asked = 301.0 * 1504.0 / 1.2;
    let on_wire = goodput(&listener, 200_000, 2_500_000)? / bench::TCP_SHARE;
    ensure!((on_wire / asked - 1.0).abs() < 0.1, "{on_wire} bytes/s, asked {asked}; {rates:?}");
    injection.stop()?;
    Ok(())
}
