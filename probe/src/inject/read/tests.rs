//! Good texts, every kind of mistake with its line, and any text at all.

use super::super::condition::MAX_DELAY;
use super::super::condition::{Chance, Loss};
use super::*;
use proptest::prelude::*;

fn read(text: &str) -> Result<Condition, String> {
    parse("c.toml", text, None, Path::new(".")).map_err(|errors| errors.to_string())
}

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Each condition that comes with the program reads, names itself, and says where each of its values comes from.
#[test]
fn builtin_conditions_have_sources() {
    for (name, text) in BUILTIN {
        let condition = load(name).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(condition.name, name);
        assert!(condition.about.is_some() && text.contains("delay_is"), "{name}");
        let value_keys = ["delay", "jitter", "loss", "loss_bursts", "rate"];
        for key in value_keys
            .iter()
            .filter(|key| text.lines().any(|line| line.trim_start().starts_with(&format!("{key} ="))))
        {
            assert!(condition.sources.iter().any(|(source, _)| source == key), "{name}: no source for {key}");
        }
        assert!(!(condition.up.is_clean() && condition.down.is_clean()));
    }
}

#[test]
fn a_full_condition() {
    let text = r#"
name = "all"
seed = 42
delay = "40ms"
jitter = "10ms"
delay_correlation = "25%"
distribution = "pareto"
duplicate = { probability = "1%", correlation = "50%" }
queue = 50
[up]
rate = "768kbit"
burst = "15kB"
loss = "1%"
loss_correlation = 0.3
[down]
rate = "1.5Mbit/s"
loss_bursts = { p = "1%", r = "20%" }
ecn = true
[[step]]
at = "10s"
delay = "90ms"
over = "5s"
[flap]
every = "30s"
away = "2s"
"#;
    let condition = read(text).unwrap();
    assert_eq!(condition.seed, Some(42));
    assert_eq!((condition.up.delay, condition.up.jitter), (ms(40), ms(10)));
    assert_eq!(
        (condition.up.rate, condition.up.burst, condition.up.queue),
        (Some(96_000), Some(15_000), Some(50))
    );
    assert_eq!(condition.up.loss, Loss::Random(Chance { probability: 0.01, correlation: 0.3 }));
    assert_eq!(condition.down.loss, Loss::GilbertElliott { p: 0.01, r: 0.2, bad: 1.0, good: 0.0 });
    assert!(condition.down.ecn && !condition.up.ecn);
    assert_eq!(condition.schedule.steps[0].down, Link { delay: ms(90), ..condition.down.clone() });
    assert_eq!(condition.schedule.flap, Some(Flap { every: ms(30_000), away: ms(2000) }));
}

#[test]
fn round_trips_are_halved() {
    let condition = read("name = 'x'\ndelay_is = 'round-trip'\ndelay = '100ms'\njitter = '10ms'").unwrap();
    assert_eq!((condition.up.delay, condition.down.delay, condition.up.jitter), (ms(50), ms(50), ms(5)));
}

/// What a text does not say stays as it is in the base.
#[test]
fn overrides() {
    let base = load("3g").unwrap();
    let changed = parse("--set", "loss = '5%'", Some(&base), Path::new(".")).unwrap();
    assert_eq!(changed.up.rate, base.up.rate);
    assert!((changed.down.loss.long_run() - 0.05).abs() < 1e-12);
}

#[test]
fn mistakes_have_their_lines() {
    for (text, line, part) in [
        ("delay = '5ms'", 1, "lacks `name`"),
        ("name = 'x'\ndelay = 50", 2, "time with its unit"),
        ("name = 'x'\ndelay = '-5ms'", 2, "time with its unit"),
        ("name = 'x'\ndelay = '2h'", 2, "at most 60s"),
        ("name = 'x'\n\njitter = '5ms'", 3, "not be greater than `delay`"),
        ("name = 'x'\nloss = '101%'", 2, "between 0 and 100%"),
        ("name = 'x'\nloss = 'lots'", 2, "must be a share"),
        ("name = 'x'\nloss = '1%'\nloss_bursts = { p = 0.1 }", 3, "only one of"),
        ("name = 'x'\nloss_states = { p99 = 1 }", 2, "unknown key `p99`"),
        ("name = 'x'\nrate = '1.5'", 2, "bits per second with a unit"),
        ("name = 'x'\nrate = '0mbit'", 2, "between 200bit"),
        ("name = 'x'\nburst = 5000", 2, "needs `rate`"),
        ("name = 'x'\nreorder = '5%'", 2, "needs `delay`"),
        ("name = 'x'\ndealy = '5ms'", 2, "did you mean `delay`?"),
        ("name = 'x'\ndistribution = 'gaussian'", 2, "unknown distribution"),
        ("name = 'x'\ndelay_is = 'both'", 2, "\"one-way\" or \"round-trip\""),
        ("name = 'x'\n[trace]\nup = '/nonexistent'", 3, "failed to read"),
        ("name = 'x'\n[[step]]\ndelay = '5ms'", 2, "lacks `at`"),
        ("name = 'x'\n[flap]\nevery = '1s'\naway = '2s'", 2, "shorter than `every`"),
        ("name = 'x'\n[up]\njitter = '5ms'", 3, "greater than `delay`"),
        ("name = 'x'\nname = 'y'", 2, "duplicate"),
    ] {
        let error = read(text).unwrap_err();
        assert!(error.contains(&format!("c.toml:{line}:")) && error.contains(part), "{text:?}: {error}");
    }
    let two = read("name = 'x'\ndelay = 5\nloss = 7").unwrap_err();
    assert!(two.contains("2 errors"), "{two}");
}

#[test]
fn unknown_names_get_a_hint() {
    let error = load("pooor").unwrap_err().to_string();
    assert!(error.contains("did you mean `poor`?"), "{error}");
    assert!(load("/nonexistent/x.toml").is_err());
}

proptest! {
    #[test]
    fn any_text_is_read_or_told(text in "(name|delay|loss|rate|up|step|flap|jitter|=|'5ms'|'1%'|\\[|\\]|\\{|\\}|\n| ){0,30}") {
        if let Ok(condition) = read(&text) {
            prop_assert!(condition.up.delay <= MAX_DELAY && condition.up.faults().is_empty());
        }
    }

    #[test]
    fn values_come_back(delay in 1u32..60_000, percent in 0u32..=100, kbit in 1u32..10_000_000) {
        let text = format!("name = 'x'\ndelay = '{delay}ms'\nloss = '{percent}%'\nrate = '{kbit}kbit'");
        let condition = read(&text).unwrap();
        prop_assert_eq!(condition.down.delay, ms(delay.into()));
        prop_assert!((condition.down.loss.long_run() - f64::from(percent) / 100.0).abs() < 1e-9);
        prop_assert_eq!(condition.down.rate, Some(u64::from(kbit) * 125));
    }
}
