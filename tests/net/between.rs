//! What is asked for is what sockets in two network namespaces meet: conditions on one end of a veth pair.

use std::{
    net::{TcpListener, UdpSocket},
    time::Duration,
};

use anyhow::{Result, ensure};

use crate::{
    Suite,
    bench::{Injection, TWO_PERCENT_REPEATED, arrivals, is_plausible, repeated_share, udp_echo, undisturbed},
    pair::{HERE, Pair, THERE},
};

pub(crate) fn add_to(suite: &mut Suite) {
    suite.add_netem("between::delay_within_five_percent", delay);
    suite.add_netem("between::loss_within_the_binomial_interval", loss);
    suite.add_netem("between::loss_over_tcp", loss_over_tcp);
}

/// The arguments of a condition on the other end, whose service listens on a port.
fn arguments<'a>(pid: &'a str, port: &'a str, values: &'a [String]) -> Vec<&'a str> {
    let mut arguments = vec!["--netns", pid, "--dev", THERE.0, "--port", port, "--echo", HERE.1];
    for value in values {
        arguments.extend(["--set", value]);
    }
    arguments
}

/// A service in the other namespace: up is from here to there.
fn delay() -> Result<()> {
    let pair = Pair::new()?;
    let before = pair.look_there()?;
    let echo = pair.inside(|| udp_echo(&format!("{}:0", THERE.1)))?;
    let clean = undisturbed(echo, 31, 100)?;
    for (up, down) in [(50, 10), (20, 150)] {
        let values = [format!("up.delay={up}ms"), format!("down.delay={down}ms")];
        let mut injection = Injection::start(&arguments(&pair.pid(), &echo.port().to_string(), &values))?;
        let added = undisturbed(echo, 31, 100)?.saturating_sub(clean);
        let asked = Duration::from_millis(up + down);
        let allowed = (asked / 20).max(Duration::from_millis(2));
        ensure!(added.abs_diff(asked) <= allowed, "{added:?}, asked {asked:?}");
        let ended = injection.stop()?;
        ensure!(ended.code == Some(0), "{} {}", ended.proof, ended.stderr);
        ensure!(pair.look_there()? == before, "{before}\nbecame\n{}", pair.look_there()?);
    }
    Ok(())
}

/// 5 000 packets to the service.
fn loss() -> Result<()> {
    let pair = Pair::new()?;
    let server = pair.inside(|| Ok(UdpSocket::bind((THERE.1, 0))?))?;
    let port = server.local_addr()?.port().to_string();
    let values = ["up.loss=2%".to_owned()];
    let mut injection = Injection::start(&arguments(&pair.pid(), &port, &values))?;
    let lost = 5000 - arrivals(server, 5000)?;
    ensure!(is_plausible(lost, 5000, 0.02), "{lost} of 5000 lost, asked 2 %");
    let ended = injection.stop()?;
    ensure!(ended.proof.contains("5000 packets"), "{}", ended.proof);
    Ok(())
}

fn loss_over_tcp() -> Result<()> {
    let pair = Pair::new()?;
    let listener = pair.inside(|| Ok(TcpListener::bind((THERE.1, 0))?))?;
    let port = listener.local_addr()?.port().to_string();
    let values = ["up.loss=2%".to_owned(), "up.delay=1ms".to_owned()];
    let mut injection = Injection::start(&arguments(&pair.pid(), &port, &values))?;
    let share = repeated_share(&listener)?;
    ensure!(TWO_PERCENT_REPEATED.contains(&share), "{share} of the segments repeated, asked 2 %");
    injection.stop()?;
    Ok(())
}
