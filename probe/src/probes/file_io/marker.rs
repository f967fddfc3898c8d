//! Reads marker lines: `probe:stage=NAME doc=ID begin`, where `doc=` may be left out.

use super::decode::By;
use crate::event::Marker;

const PREFIX: &str = "probe:";
/// Longer words are no names, bytes.
const MAX_WORD: usize = 100;

/// Every marker of a write; lines that are not quite markers are none.
pub(super) fn read(by: By, text: &str) -> impl Iterator<Item = Marker> {
    text.lines().filter_map(move |line| {
        let mut marker = Marker {
            ts_ns: by.ts_ns,
            pid: by.pid,
            tid: by.tid,
            stage: String::new(),
            doc: String::new(),
            is_begin: false,
            io_ns: by.io_ns,
        };
        let mut is_told = false;
        for word in line.strip_prefix(PREFIX)?.split_ascii_whitespace() {
            if let Some(stage) = word.strip_prefix("stage=") {
                marker.stage = name(stage)?;
            } else if let Some(doc) = word.strip_prefix("doc=") {
                marker.doc = name(doc)?;
            } else if matches!(word, "begin" | "end") && !is_told {
                marker.is_begin = word == "begin";
                is_told = true;
            } else {
                return None;
            }
        }
        (is_told && !marker.stage.is_empty()).then_some(marker)
    })
}

fn name(word: &str) -> Option<String> {
    (!word.is_empty() && word.len() <= MAX_WORD).then(|| word.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BY: By = By { pid: 1, tid: 2, enter_ns: 3, ts_ns: 3, io_ns: 4 };

    fn words(text: &str) -> Vec<(String, String, bool)> {
        read(BY, text).map(|marker| (marker.stage, marker.doc, marker.is_begin)).collect()
    }

    #[test]
    fn markers_are_lines() {
        let ocr = |is_begin| ("ocr".to_owned(), "42".to_owned(), is_begin);
        assert_eq!(words("probe:stage=ocr doc=42 begin\n"), [ocr(true)]);
        assert_eq!(words("probe:stage=ocr doc=42 end"), [ocr(false)]);
        assert_eq!(
            words("probe:stage=ocr doc=42 begin\nprobe:stage=ocr doc=42 end\nx"),
            [ocr(true), ocr(false)]
        );
        assert_eq!(words("probe:stage=ocr begin")[0].1, "");
        for wrong in [
            "probe:stage= doc=1 begin",
            "probe:stage=ocr doc=42",
            "probe:stage=ocr begin end",
            "x probe:stage=a begin",
        ] {
            assert_eq!(words(wrong), [], "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "(probe:)?[ -~\n]{0,80}") {
            for marker in read(BY, &text) {
                prop_assert!(!marker.stage.contains(' '));
            }
        }
    }
}
