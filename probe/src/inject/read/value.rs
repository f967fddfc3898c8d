//! The values of a condition: `"50ms"`, `"1.5%"`, `"768kbit"`, `"15kB"`, `{ probability, correlation }`.

use std::time::Duration;

use toml::de::DeValue;

use super::super::condition::Chance;

/// A finite number and what stands behind it.
fn split(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let number = text[..end].parse().ok().filter(|number: &f64| number.is_finite())?;
    Some((number, text[end..].trim()))
}

fn number(value: &DeValue<'_>) -> Option<f64> {
    let number = match value {
        DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix()).ok()? as f64,
        DeValue::Float(float) => float.as_str().parse().ok()?,
        _ => return None,
    };
    number.is_finite().then_some(number)
}

/// A time span.
pub(super) fn duration(value: &DeValue<'_>) -> Result<Duration, String> {
    const FORM: &str = "must be a time with its unit, as in \"50ms\" or \"1.5s\"";
    let (number, unit) = value.as_str().and_then(split).ok_or(FORM)?;
    let unit = match unit {
        "us" | "µs" | "μs" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return Err(FORM.to_owned()),
    };
    let seconds = number * unit;
    if seconds > 30.0 * 86_400.0 {
        return Err("is longer than 30 days".to_owned());
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// 0 to 1, or percent.
pub(super) fn ratio(value: &DeValue<'_>) -> Result<f64, String> {
    const FORM: &str = "must be a share, as in \"1.5%\" or 0.015";
    let ratio = match value.as_str() {
        None => number(value).ok_or(FORM)?,
        Some(text) => match split(text).ok_or(FORM)? {
            (number, "%") => number / 100.0,
            (number, "") => number,
            _ => return Err(FORM.to_owned()),
        },
    };
    if !(0.0..=1.0).contains(&ratio) {
        return Err("must be between 0 and 100%".to_owned());
    }
    Ok(ratio)
}

/// A share, or a table with `probability` and `correlation`.
pub(super) fn chance(value: &DeValue<'_>) -> Result<Chance, String> {
    let Some(table) = value.as_table() else {
        return Ok(Chance { probability: ratio(value)?, correlation: 0.0 });
    };
    let mut chance = Chance::default();
    for (key, value) in table {
        match key.get_ref().as_ref() {
            "probability" => chance.probability = ratio(value.get_ref())?,
            "correlation" => chance.correlation = ratio(value.get_ref())?,
            other => return Err(format!("has an unknown key `{other}` (probability, correlation)")),
        }
    }
    Ok(chance)
}

/// Bytes per second, written in bits per second; `"none"` for no limit.
pub(super) fn rate(value: &DeValue<'_>) -> Result<Option<u64>, String> {
    const FORM: &str = "must be bits per second with a unit, as in \"768kbit\" or \"1.5mbit\", or \"none\"";
    let text = value.as_str().ok_or(FORM)?;
    if text == "none" {
        return Ok(None);
    }
    let (number, unit) = split(text).ok_or(FORM)?;
    let unit = match unit.to_ascii_lowercase().trim_end_matches("/s").trim_end_matches("ps") {
        "bit" => 1.0,
        "kbit" => 1e3,
        "mbit" => 1e6,
        "gbit" => 1e9,
        _ => return Err(FORM.to_owned()),
    };
    let bytes = number * unit / 8.0;
    if !(1.0..=1e12).contains(&bytes) {
        return Err("must be between 200bit and 100gbit".to_owned());
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and 10^12")]
    let bytes = bytes.round() as u64;
    Ok(Some(bytes))
}

/// Bytes.
pub(super) fn bytes(value: &DeValue<'_>) -> Result<u32, String> {
    const FORM: &str = "must be bytes, as in 15000 or \"15kB\"";
    let bytes = match value.as_str() {
        None => number(value).ok_or(FORM)?,
        Some(text) => match split(text).ok_or(FORM)? {
            (number, "" | "B") => number,
            (number, "kB" | "kb") => number * 1e3,
            (number, "KiB") => number * 1024.0,
            (number, "MB" | "mb") => number * 1e6,
            (number, "MiB") => number * 1024.0 * 1024.0,
            _ => return Err(FORM.to_owned()),
        },
    };
    if !(0.0..=1e9).contains(&bytes) {
        return Err("must be at most 1 GB".to_owned());
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 10^9")]
    let bytes = bytes.round() as u32;
    Ok(bytes)
}

/// A number without a fraction, also written as a string.
pub(super) fn whole(value: &DeValue<'_>) -> Result<u64, String> {
    let read = match value {
        DeValue::Integer(integer) => u64::from_str_radix(integer.as_str(), integer.radix()).ok(),
        DeValue::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    read.ok_or_else(|| "must be a whole number that is not negative".to_owned())
}

/// true or false, also written as a string.
pub(super) fn boolean(value: &DeValue<'_>) -> Result<bool, String> {
    let read = value.as_bool().or_else(|| value.as_str().and_then(|text| text.parse().ok()));
    read.ok_or_else(|| "must be true or false".to_owned())
}

/// Text that is fit to stand in a line.
pub(super) fn word(value: &DeValue<'_>) -> Result<String, String> {
    let text = value.as_str().ok_or("must be a string")?;
    if text.trim().is_empty() || text.chars().count() > 200 || text.chars().any(char::is_control) {
        return Err("must be one line of at most 200 characters".to_owned());
    }
    Ok(text.to_owned())
}
