//! Targets and limits: `"200ms"`, `0.005`, `"0.5%"`, `"50/s"`.

use std::time::Duration;

use toml::de::DeValue;

use super::metric::{Metric, Unit};

/// Reads the value of a target or limit in the unit of its metric.
pub(super) fn read_level(metric: Metric, value: &DeValue<'_>) -> Result<f64, String> {
    let level = match metric.unit() {
        Unit::Seconds => read_seconds(value)?,
        Unit::Ratio => read_ratio(value)?,
        Unit::PerSecond => read_per_second(value)?,
        Unit::Bytes => read_bytes(value)?,
        Unit::Count => read_number(value).ok_or_else(|| wrong_type(value, "a number"))?,
        Unit::Watts => read_scaled(value, &[("W", 1.0), ("kW", 1e3)], "a power, as in \"300W\"")?,
        Unit::Joules => read_scaled(value, &[("J", 1.0), ("kJ", 1e3)], "an energy, as in \"50J\"")?,
        Unit::Celsius => read_scaled(value, &[("C", 1.0), ("°C", 1.0)], "a temperature, as in \"85C\"")?,
    };
    // Shares and numbers of things may be 0 ("no errors at all"); any other level of 0 is met by nothing or by anything.
    if level < 0.0 {
        Err("is negative".to_owned())
    } else if level == 0.0 && !matches!(metric.unit(), Unit::Ratio | Unit::Count) {
        Err("is zero".to_owned())
    } else {
        Ok(level)
    }
}

/// Reads a length of time, above 0 and at most 30 days.
pub(super) fn read_duration(value: &DeValue<'_>) -> Result<Duration, String> {
    let seconds = read_seconds(value)?;
    if !(1e-3..=30.0 * 86_400.0).contains(&seconds) {
        return Err("must be between 1ms and 30 days".to_owned());
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// A whole or broken number, finite.
fn read_number(value: &DeValue<'_>) -> Option<f64> {
    let number = match value {
        DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix()).ok()? as f64,
        DeValue::Float(float) => float.as_str().parse().ok()?,
        _ => return None,
    };
    number.is_finite().then_some(number)
}

fn read_seconds(value: &DeValue<'_>) -> Result<f64, String> {
    const FORM: &str = "a duration with its unit, as in \"200ms\" or \"1.5s\"";
    let text = value.as_str().ok_or_else(|| wrong_type(value, FORM))?;
    let (number, unit) = split_number(text).ok_or_else(|| format!("`{text}` is not {FORM}"))?;
    let seconds_per_unit = match unit {
        "ns" => 1e-9,
        "us" | "µs" | "μs" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        "" => return Err(format!("`{text}` lacks its unit, as in \"{text}ms\" (ns, us, ms, s, m, h)")),
        _ => return Err(format!("`{text}` has an unknown unit `{unit}` (ns, us, ms, s, m, h)")),
    };
    Ok(number * seconds_per_unit)
}

pub(super) fn read_ratio(value: &DeValue<'_>) -> Result<f64, String> {
    const FORM: &str = "a ratio, as in 0.005 or \"0.5%\"";
    let ratio = match value.as_str() {
        None => read_number(value).ok_or_else(|| wrong_type(value, FORM))?,
        Some(text) => match split_number(text) {
            Some((number, "%")) => number / 100.0,
            Some((number, "")) => number,
            _ => return Err(format!("`{text}` is not {FORM}")),
        },
    };
    if ratio > 1.0 {
        return Err(format!("is a ratio above 1; for percent write \"{ratio}%\""));
    }
    Ok(ratio)
}

fn read_bytes(value: &DeValue<'_>) -> Result<f64, String> {
    const FORM: &str = "a size with its unit, as in \"64MiB\"";
    let text = value.as_str().ok_or_else(|| wrong_type(value, FORM))?;
    let (number, unit) = split_number(text).ok_or_else(|| format!("`{text}` is not {FORM}"))?;
    let bytes_per_unit = match unit {
        "B" => 1.0,
        "kB" => 1e3,
        "MB" => 1e6,
        "GB" => 1e9,
        "KiB" => 1024.0,
        "MiB" => f64::from(1 << 20),
        "GiB" => f64::from(1 << 30),
        _ => return Err(format!("`{text}` lacks its unit (B, kB, MB, GB, KiB, MiB, GiB)")),
    };
    Ok(number * bytes_per_unit)
}

/// A number, alone or with one of the units behind it.
fn read_scaled(value: &DeValue<'_>, units: &[(&str, f64)], form: &str) -> Result<f64, String> {
    let Some(text) = value.as_str() else { return read_number(value).ok_or_else(|| wrong_type(value, form)) };
    let scaled = split_number(text).and_then(|(number, unit)| {
        let (_, scale) = units.iter().find(|(name, _)| *name == unit)?;
        Some(number * scale)
    });
    scaled.ok_or_else(|| format!("`{text}` is not {form}"))
}

fn read_per_second(value: &DeValue<'_>) -> Result<f64, String> {
    const FORM: &str = "a rate, as in 50 or \"50/s\" or \"30/min\"";
    let Some(text) = value.as_str() else { return read_number(value).ok_or_else(|| wrong_type(value, FORM)) };
    match split_number(text) {
        Some((number, "" | "/s")) => Ok(number),
        Some((number, "/min" | "/m")) => Ok(number / 60.0),
        _ => Err(format!("`{text}` is not {FORM}")),
    }
}

/// A finite number and what stands behind it. No exponents: nobody writes them here, and `e` is no unit.
fn split_number(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let end =
        text.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '-' | '+'))).unwrap_or(text.len());
    let number = text[..end].parse().ok().filter(|number: &f64| number.is_finite())?;
    Some((number, text[end..].trim()))
}

fn wrong_type(value: &DeValue<'_>, form: &str) -> String {
    format!("is {}, not {form}", type_name(value))
}

/// A TOML type, with its article.
pub(super) fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Kind;

    fn level(metric: &str, toml: &str) -> Result<f64, String> {
        let metric = Metric::parse(Kind::Endpoint, metric).unwrap();
        read_level(metric, DeValue::parse(toml).unwrap().get_ref())
    }

    #[test]
    fn good_levels() {
        for (metric, toml, expected) in [
            ("latency.p95", "'200ms'", 0.2),
            ("latency.p95", "'1.5 s'", 1.5),
            ("latency.p95", "'250us'", 0.000_25),
            ("latency.p95", "'250µs'", 0.000_25),
            ("latency.p95", "'2m'", 120.0),
            ("error_rate", "0.005", 0.005),
            ("error_rate", "'0.5%'", 0.005),
            ("error_rate", "0", 0.0),
            ("success_rate", "1", 1.0),
            ("success_rate", "'99 %'", 0.99),
            ("rate", "50", 50.0),
            ("rate", "'50/s'", 50.0),
            ("rate", "'30/min'", 0.5),
            ("requests", "1_000", 1000.0),
        ] {
            let got = level(metric, toml).unwrap();
            assert!((got - expected).abs() < 1e-12, "{metric} {toml}: {got}");
        }
    }

    #[test]
    fn bad_levels() {
        for (metric, toml, part) in [
            ("latency.p95", "200", "is an integer, not a duration"),
            ("latency.p95", "'200'", "lacks its unit"),
            ("latency.p95", "'200 parsec'", "unknown unit `parsec`"),
            ("latency.p95", "'-1s'", "is negative"),
            ("latency.p95", "'0s'", "is zero"),
            ("latency.p95", "'ms'", "is not a duration"),
            ("latency.p95", "'1.2.3s'", "is not a duration"),
            ("error_rate", "5", "write \"5%\""),
            ("error_rate", "'150%'", "is a ratio above 1"),
            ("error_rate", "nan", "is a float, not a ratio"),
            ("error_rate", "true", "is a boolean"),
            ("rate", "0", "is zero"),
            ("rate", "'50/h'", "is not a rate"),
            ("requests", "'many'", "is a string, not a number"),
        ] {
            let error = level(metric, toml).unwrap_err();
            assert!(error.contains(part), "{metric} {toml}: {error}");
        }
    }
}
