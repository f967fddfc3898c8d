//! Rules on the user side's layers: which parts may know the kernel, the network, files and clocks.

use super::source::{has_word, product_lines};
use super::{Tree, Violation, files};

/// What makes a function depend on more than its arguments.
const OUTSIDE: [&str; 8] =
    ["aya", "tokio", "std::fs", "std::net", "std::env", "std::process", "Instant::now", "SystemTime"];

/// A folder (or the file of that name) and the words that it must not have.
const LAYERS: [(&str, &[&str]); 6] = [
    // Pure, so that a recording gives the same report on any machine, and no error but a wrong number is possible.
    ("probe/src/correlate", &OUTSIDE),
    ("probe/src/aggregate", &OUTSIDE),
    ("probe/src/slo", &OUTSIDE),
    ("probe/src/report", &["aya", "tokio"]),
    // What both sides share is data and arithmetic on it.
    ("probe-common/src", &["std", "aya_ebpf"]),
    ("probe-ebpf/src", &["std"]),
];

pub(super) fn layers(tree: &Tree) -> Vec<Violation> {
    let mut found = Vec::new();
    for (folder, forbidden) in LAYERS {
        for place in [format!("{folder}/"), format!("{folder}.rs")] {
            for (path, text) in files(tree, &place, ".rs") {
                for (number, code) in product_lines(path, text) {
                    let words = forbidden.iter().filter(|word| has_word(&code, word));
                    found.extend(words.map(|word| {
                        Violation::new(path, number, format!("{folder} must not know `{word}`"))
                    }));
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::tree;
    use super::*;

    #[test]
    fn pure_layers_stay_pure() {
        let good =
            "//! Not tokio.\nuse std::time::Duration;\nfn f(now: Instant) {}\n#[cfg(test)]\nuse std::fs;\n";
        assert_eq!(
            layers(&tree(&[("probe/src/correlate/a.rs", good), ("probe/src/engine/a.rs", "use aya::x;\n")])),
            []
        );
        for bad in ["use aya::Ebpf;\n", "let now = Instant::now();\n", "use std::fs;\n", "tokio::spawn(f);\n"]
        {
            assert_eq!(layers(&tree(&[("probe/src/slo/a.rs", bad)])).len(), 1, "{bad}");
        }
        assert_eq!(layers(&tree(&[("probe/src/report/a.rs", "use aya::x;\n")])).len(), 1);
        assert_eq!(layers(&tree(&[("probe-common/src/a.rs", "use std::vec;\n")])).len(), 1);
    }
}
