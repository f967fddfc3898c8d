//! Distributions as they are kept in a file: exact counts and sums beside the histogram in its standard form
//! (HdrHistogram V2, deflated, base64), so that others can read it too.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer as _, V2DeflateSerializer};
use serde::{Deserialize, Serialize};

use super::{Durations, LOWEST_NS, Resolution};

/// A longer text is no histogram of ours, bytes: 74 KiB of counts at most, which base64 makes a third longer.
const MAX_TEXT_BYTES: usize = 256 * 1024;

/// See the head of this file.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Saved {
    significant_digits: u8,
    count: u64,
    min_ns: u64,
    max_ns: u64,
    sum_ns: u128,
    sum_of_squares: u128,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    histogram: Option<String>,
}

impl From<Durations> for Saved {
    fn from(durations: Durations) -> Self {
        Self {
            significant_digits: durations.resolution.significant_digits(),
            count: durations.count,
            min_ns: durations.min_ns,
            max_ns: durations.max_ns,
            sum_ns: durations.sum_ns,
            sum_of_squares: durations.sum_of_squares,
            histogram: durations.histogram.as_ref().and_then(write),
        }
    }
}

impl TryFrom<Saved> for Durations {
    type Error = String;

    fn try_from(saved: Saved) -> Result<Self, String> {
        let resolutions = [Resolution::Fine, Resolution::Coarse];
        let resolution = resolutions
            .into_iter()
            .find(|known| known.significant_digits() == saved.significant_digits)
            .ok_or_else(|| format!("unknown resolution of {} digits", saved.significant_digits))?;
        let histogram = saved.histogram.as_deref().map(|text| read(text, resolution)).transpose()?;
        if histogram.as_ref().map_or(0, Histogram::len) != saved.count {
            return Err("a histogram that does not hold as many values as its count says".to_owned());
        }
        Ok(Self {
            resolution,
            histogram,
            count: saved.count,
            min_ns: saved.min_ns,
            max_ns: saved.max_ns,
            sum_ns: saved.sum_ns,
            sum_of_squares: saved.sum_of_squares,
        })
    }
}

fn write(histogram: &Histogram<u32>) -> Option<String> {
    let mut bytes = Vec::new();
    // Writing to memory fails for counts beyond what the form can hold only, and ours are 32 bits.
    V2DeflateSerializer::new().serialize(histogram, &mut bytes).ok()?;
    Some(BASE64_STANDARD.encode(bytes))
}

fn read(text: &str, resolution: Resolution) -> Result<Histogram<u32>, String> {
    if text.len() > MAX_TEXT_BYTES {
        return Err(format!("a histogram of {} bytes is none of ours", text.len()));
    }
    let bytes = BASE64_STANDARD.decode(text).map_err(|error| format!("not base64: {error}"))?;
    let mut histogram: Histogram<u32> = Deserializer::new()
        .deserialize(&mut bytes.as_slice())
        .map_err(|error| format!("not a histogram: {error}"))?;
    if histogram.low() != LOWEST_NS || histogram.sigfig() != resolution.significant_digits() {
        return Err("a histogram of another resolution".to_owned());
    }
    histogram.auto(true);
    Ok(histogram)
}

#[cfg(test)]
mod tests {
    use super::super::HIGHEST_NS;
    use super::*;
    use proptest::prelude::*;

    fn durations(values: &[u64], coarse: bool) -> Durations {
        let resolution = if coarse { Resolution::Coarse } else { Resolution::Fine };
        let mut durations = Durations::new(resolution);
        for value in values {
            durations.record(*value);
        }
        durations
    }

    /// Everything that can be asked of a distribution.
    fn answers(of: &Durations) -> impl PartialEq + std::fmt::Debug + use<> {
        let all: Vec<_> = (1..=of.count()).map(|rank| of.at_ranks_ns([rank])).collect();
        (of.count(), of.min_ns(), of.max_ns(), of.mean_ns(), of.mean_error_ns(), all)
    }

    fn reread(of: &Durations) -> Durations {
        serde_json::from_str(&serde_json::to_string(of).unwrap()).unwrap()
    }

    proptest! {
        #[test]
        fn saved_is_the_same_again(values in prop::collection::vec(0..2 * HIGHEST_NS, 0..40), coarse: bool) {
            let all = durations(&values, coarse);
            prop_assert_eq!(answers(&reread(&all)), answers(&all));
        }

        /// What two hosts saw, put together from their files, is what one would have seen of both.
        #[test]
        fn merged_is_as_if_recorded_together(a in prop::collection::vec(any::<u64>(), 0..40), b in prop::collection::vec(any::<u64>(), 0..40), coarse: bool) {
            let mut merged = reread(&durations(&a, coarse));
            merged.merge(&reread(&durations(&b, coarse)));
            let whole: Vec<u64> = a.into_iter().chain(b).collect();
            prop_assert_eq!(answers(&merged), answers(&durations(&whole, coarse)));
        }

        #[test]
        fn any_text_is_refused_or_taken(text: String, bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = read(&text, Resolution::Fine);
            let _ = read(&BASE64_STANDARD.encode(bytes), Resolution::Coarse);
        }
    }

    #[test]
    fn a_count_that_lies_is_refused() {
        let text = serde_json::to_string(&durations(&[1, 2, 3], false))
            .unwrap()
            .replace("\"count\":3", "\"count\":4");
        let error = serde_json::from_str::<Durations>(&text).unwrap_err().to_string();
        assert!(error.contains("as many values"), "{error}");
    }
}
