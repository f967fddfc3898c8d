//! Tables of jitter distributions as netem wants them: quantiles, in units of 1/8192 of the jitter.

use std::sync::Arc;

use super::condition::Distribution;

/// netem's unit (`NETEM_DIST_SCALE`).
const SCALE: f64 = 8192.0;
/// Entries of the tables made here; as many as those that come with `tc`.
const ENTRIES: u32 = 4096;
/// Most entries that the kernel takes (`NETEM_DIST_MAX`).
const MAX_ENTRIES: usize = 16_384;

/// The table; none where netem needs none.
pub fn table(distribution: &Distribution) -> Option<Vec<i16>> {
    match distribution {
        Distribution::Uniform => None,
        Distribution::Normal => Some(make(normal)),
        Distribution::Pareto => Some(make(pareto)),
        Distribution::ParetoNormal => Some(make(paretonormal)),
        Distribution::Table(table) => Some(table.to_vec()),
    }
}

/// Reads a table as `tc` does: whole numbers between white space, `#` begins a comment.
pub fn parse(text: &str) -> Result<Distribution, Vec<(usize, String)>> {
    let mut errors = Vec::new();
    let mut entries: Vec<i16> = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        for word in line.split('#').next().unwrap_or_default().split_whitespace() {
            if let Ok(entry) = word.parse() {
                entries.push(entry);
            } else {
                let shown: String = word.chars().take(20).flat_map(char::escape_default).collect();
                errors.push((number, format!("`{shown}` is not a number from -32768 to 32767")));
            }
            if entries.len() > MAX_ENTRIES || errors.len() > 20 {
                errors.push((number, format!("more than {MAX_ENTRIES} entries or too many mistakes")));
                return Err(errors);
            }
        }
    }
    if entries.is_empty() && errors.is_empty() {
        errors.push((0, "holds no number".to_owned()));
    }
    if errors.is_empty() { Ok(Distribution::Table(Arc::from(entries))) } else { Err(errors) }
}

/// One entry for each slice of the probability, at its middle.
fn make(quantile: fn(f64) -> f64) -> Vec<i16> {
    let entry = |index: u32| {
        let share = (f64::from(index) + 0.5) / f64::from(ENTRIES);
        #[expect(clippy::cast_possible_truncation, reason = "clamped to the type's range")]
        let entry = (quantile(share) * SCALE).round().clamp(-32768.0, 32767.0) as i16;
        entry
    };
    (0..ENTRIES).map(entry).collect()
}

/// Of the standard normal distribution (Acklam's rational approximation, error below 1.2e-9 of the value).
fn normal(p: f64) -> f64 {
    const A: [f64; 6] = [
        -39.696_830_286_653_76,
        220.946_098_424_520_5,
        -275.928_510_446_968_7,
        138.357_751_867_269,
        -30.664_798_066_147_16,
        2.506_628_277_459_239,
    ];
    const B: [f64; 5] = [
        -54.476_098_798_224_06,
        161.585_836_858_040_9,
        -155.698_979_859_886_6,
        66.801_311_887_719_72,
        -13.280_681_552_885_72,
    ];
    const C: [f64; 6] = [
        -0.007_784_894_002_430_293,
        -0.322_396_458_041_136_5,
        -2.400_758_277_161_838,
        -2.549_732_539_343_734,
        4.374_664_141_464_968,
        2.938_163_982_698_783,
    ];
    const D: [f64; 4] =
        [0.007_784_695_709_041_462, 0.322_467_129_070_039_8, 2.445_134_137_142_996, 3.754_408_661_907_416];
    let polynomial = |c: &[f64], x: f64| c.iter().fold(0.0, |sum, c| sum * x + c);
    let tail = |p: f64| {
        let q = (-2.0 * p.ln()).sqrt();
        polynomial(&C, q) / (polynomial(&D, q) * q + 1.0)
    };
    if p < 0.024_25 {
        tail(p)
    } else if p > 1.0 - 0.024_25 {
        -tail(1.0 - p)
    } else {
        let q = p - 0.5;
        let r = q * q;
        polynomial(&A, r) * q / (polynomial(&B, r) * r + 1.0)
    }
}

/// With shape 3, moved to mean 0 and scaled as iproute2's table is.
fn pareto(p: f64) -> f64 {
    ((1.0 - p).powf(-1.0 / 3.0) - 1.5) * (4.0 / 3.0)
}

/// The quantiles of the two, weighed as iproute2 does (netem/paretonormal.c).
fn paretonormal(p: f64) -> f64 {
    0.25 * normal(p) + 0.75 * pareto(p)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Quantiles at 1/4, 1/2, 3/4 and 0.95 of the tables of iproute2 6.1.
    #[test]
    fn tables_are_those_of_tc() {
        for (distribution, expected) in [
            (Distribution::Normal, [-5525, 0, 5526, 13473]),
            (Distribution::Pareto, [-4362, -2622, 955, 13255]),
            (Distribution::ParetoNormal, [-4652, -1966, 2097, 13309]),
        ] {
            let table = table(&distribution).unwrap();
            assert_eq!(table.len(), 4096);
            assert!(table.is_sorted());
            for (index, expected) in [1024, 2048, 3072, 3891].into_iter().zip(expected) {
                let got = i32::from(table[index]);
                assert!((got - expected).abs() <= 30, "{distribution} at {index}: {got}, tc has {expected}");
            }
        }
    }

    #[test]
    fn files_are_read_or_told() {
        let read = parse("# a table\n-1 2\n3 # end\n").unwrap();
        assert_eq!(read, Distribution::Table(Arc::from([-1, 2, 3])));
        let errors = parse("1\nx 40000\n").unwrap_err();
        assert_eq!(errors.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [2, 2]);
        assert!(parse("").is_err() && parse(&"1 ".repeat(20_000)).is_err());
    }
}
