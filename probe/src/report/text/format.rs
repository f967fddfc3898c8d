//! Numbers with their units, harmless text, and text that fits.

use crate::profile::Unit;

/// Stands where there is no value.
pub(in crate::report) const NONE: &str = "-";

/// Three significant digits and the unit that suits the value: `157 µs`, `12.3 ms`, `1.50 s`.
pub(in crate::report) fn seconds(value: f64) -> String {
    let nanoseconds = value.abs() * 1e9;
    // The edges are where three digits of the smaller unit would be rounded up to four.
    let (scaled, unit) = if nanoseconds < 0.5 {
        return "0 s".to_owned();
    } else if nanoseconds < 999.5 {
        (value * 1e9, "ns")
    } else if nanoseconds < 999.5e3 {
        (value * 1e6, "µs")
    } else if nanoseconds < 999.5e6 {
        (value * 1e3, "ms")
    } else {
        (value, "s")
    };
    format!("{} {unit}", three_digits(scaled))
}

/// As [`seconds`], or a dash.
pub(in crate::report) fn maybe_seconds(value: Option<f64>) -> String {
    value.map_or_else(|| NONE.to_owned(), seconds)
}

/// At least three significant digits, none of them behind the point for large values.
pub(in crate::report) fn three_digits(value: f64) -> String {
    let magnitude = value.abs();
    if magnitude >= 1e6 {
        return format!("{value:.1e}");
    }
    let decimals = if magnitude >= 99.95 || magnitude == 0.0 {
        0
    } else if magnitude >= 9.995 {
        1
    } else {
        2
    };
    format!("{value:.decimals$}")
}

/// A ratio as percent.
pub(in crate::report) fn percent(ratio: f64) -> String {
    let text = format!("{:.2}", ratio * 100.0);
    format!("{} %", text.strip_suffix(".00").unwrap_or(&text))
}

/// Bytes in powers of 1024.
pub(in crate::report) fn bytes(value: u64) -> String {
    size(value as f64)
}

/// See [`bytes`].
fn size(value: f64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut scaled = value;
    let mut unit = 0;
    while scaled.abs() >= 1000.0 && unit + 1 < UNITS.len() {
        scaled /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{value:.0} B") } else { format!("{} {}", three_digits(scaled), UNITS[unit]) }
}

/// A value in its unit.
pub(in crate::report) fn quantity(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Seconds => seconds(value),
        Unit::Ratio => percent(value),
        Unit::PerSecond => format!("{}/s", three_digits(value)),
        Unit::Count => format!("{value:.0}"),
        Unit::Bytes => size(value),
        Unit::Watts => format!("{} W", three_digits(value)),
        Unit::Joules => format!("{} J", three_digits(value)),
        Unit::Celsius => format!("{value:.0} C"),
    }
}

/// Numbers of things in tables: exact as long as they are short.
pub(in crate::report) fn integer(value: u64) -> String {
    if value < 10_000_000 {
        return value.to_string();
    }
    let mut scaled = value as f64 / 1e6;
    let mut units = "MGTPE".chars();
    while scaled >= 999.5 && units.clone().count() > 1 {
        scaled /= 1e3;
        units.next();
    }
    format!("{}{}", three_digits(scaled), units.next().unwrap_or_default())
}

/// `1 request`, `2 requests`.
pub(in crate::report) fn count(n: u64, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

/// Text from outside, harmless for a terminal and for the table it stands in: one line of printable ASCII.
pub(in crate::report) fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii_graphic() || c == ' ' {
            out.push(c);
        } else {
            out.extend(c.escape_default());
        }
    }
    out
}

/// A network condition as a profile names it, without the folder and the ending of its file.
pub(in crate::report) fn condition(net: &str) -> String {
    let words = net.split(' ').map(|word| {
        // Behind the name stand its scope and values, as `peer=10.0.0.0/24`.
        let name = word.rsplit('/').next().filter(|_| !word.contains('=')).unwrap_or(word);
        name.strip_suffix(".toml").unwrap_or(name)
    });
    words.collect::<Vec<_>>().join(" ")
}

/// At most `width` characters: the middle is left out, because a path's ends tell the most.
pub(in crate::report) fn shorten(text: &str, width: usize) -> String {
    let length = text.chars().count();
    if length <= width {
        return text.to_owned();
    }
    let kept = width.saturating_sub(1);
    let (head, tail) = (kept - kept / 2, kept / 2);
    let skip = length - tail;
    text.chars().take(head).chain(['…']).chain(text.chars().skip(skip)).take(width).collect()
}

/// A blank at which [`wrap`] does not break; foreign text cannot hold it after [`plain`].
const GLUE: char = '\u{a0}';

/// Keeps a number and its unit on one line.
pub(in crate::report) fn glued(text: &str) -> String {
    text.replace(' ', &GLUE.to_string())
}

/// Breaks text into lines of at most `width` columns, all but the first indented. Words that are too long
/// for a line are cut.
pub(in crate::report) fn wrap(text: &str, width: usize, indent: usize) -> String {
    let mut out = String::new();
    let mut column = 0;
    for word in text.split(' ') {
        let mut rest = word;
        let length = rest.chars().count();
        if column > 0 && column + 1 + length > width && column > indent {
            out.push('\n');
            out.push_str(&" ".repeat(indent));
            column = indent;
        } else if column > 0 && column != indent {
            out.push(' ');
            column += 1;
        }
        while column + rest.chars().count() > width {
            let room = width - column;
            let cut = rest.char_indices().nth(room).map_or(rest.len(), |(at, _)| at);
            out.push_str(&rest[..cut]);
            out.push('\n');
            out.push_str(&" ".repeat(indent));
            rest = &rest[cut..];
            column = indent;
        }
        out.push_str(rest);
        column += rest.chars().count();
    }
    out.replace(GLUE, " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn units_suit_their_values() {
        for (value, expected) in [
            (0.0, "0 s"),
            (98e-9, "98.0 ns"),
            (999.6e-9, "1.00 µs"),
            (157e-6, "157 µs"),
            (0.001_234, "1.23 ms"),
            (0.0999, "99.9 ms"),
            (0.2, "200 ms"),
            (0.9999, "1.00 s"),
            (12.34, "12.3 s"),
            (3600.0, "3600 s"),
            (18_446_744_073.0, "1.8e10 s"),
        ] {
            assert_eq!(seconds(value), expected);
        }
        for (value, expected) in [(0, "0 B"), (999, "999 B"), (1000, "0.98 KiB"), (5 << 20, "5.00 MiB")] {
            assert_eq!(bytes(value), expected);
        }
        for (value, expected) in [(0.0, "0 %"), (0.005, "0.50 %"), (0.99, "99 %"), (1.0, "100 %")] {
            assert_eq!(percent(value), expected);
        }
        for (value, expected) in
            [(9_999_999, "9999999"), (12_345_678, "12.3M"), (5_000_000_000, "5.00G"), (u64::MAX, "18.4E")]
        {
            assert_eq!(integer(value), expected);
        }
    }

    #[test]
    fn foreign_text_is_harmless_and_short() {
        assert_eq!(plain("a\u{1b}[31m\r\n\u{202e}é"), "a\\u{1b}[31m\\r\\n\\u{202e}\\u{e9}");
        assert_eq!(shorten("abcdefgh", 8), "abcdefgh");
        assert_eq!(shorten("abcdefghi", 8), "abcd…ghi");
        assert_eq!(shorten("abc", 1), "…");
    }

    #[test]
    fn lines_break_between_words() {
        assert_eq!(wrap("one two three", 8, 2), "one two\n  three");
        assert_eq!(wrap("abcdefghij k", 4, 1), "abcd\n efg\n hij\n k");
        assert_eq!(wrap(&format!("about {}", glued("12 ms")), 9, 0), "about\n12 ms");
    }

    proptest! {
        #[test]
        fn wrapped_lines_fit_and_lose_nothing(text in "[a-z]{0,30}( [a-z]{0,30}){0,10}", width in 5usize..40, indent in 0usize..4) {
            let wrapped = wrap(&text, width, indent);
            let letters = |text: &str| text.chars().filter(|c| c.is_alphabetic()).collect::<String>();
            prop_assert_eq!(letters(&wrapped), letters(&text));
            for line in wrapped.lines() {
                prop_assert!(line.chars().count() <= width, "{line}");
            }
        }

        #[test]
        fn shortened_text_fits(text: String, width in 1usize..40) {
            prop_assert!(shorten(&plain(&text), width).chars().count() <= width);
        }
    }
}
