//! Rules on words in Rust: no unfinished code, no silenced lints, prints at few places, sleeps with a reason.

use super::source::{code, has_word, numbered, product_lines, test_lines};
use super::{Tree, Violation, files};

/// Words and what to do instead.
const FORBIDDEN: [(&str, &str); 5] = [
    ("#[allow(", "use #[expect(.., reason)], which dies with its cause"),
    ("#![allow(", "use #![expect(.., reason)], which dies with its cause"),
    ("todo!", "finish it"),
    ("unimplemented!", "finish it"),
    ("dbg!", "use tracing"),
];

const PRINTS: [&str; 4] = ["println!", "print!", "eprintln!", "eprint!"];
/// The report is stdout's alone, the log is stderr's; a build script speaks to cargo.
const PRINT_PLACES: [&str; 6] = [
    "probe/src/main.rs",
    "probe/src/cli/",
    "probe/src/report/",
    "probe/build.rs",
    "xtask/src/say.rs",
    "tests/",
];

const SLEEP_REASON: [&str; 2] = ["// sleep:", "# sleep:"];

pub(super) fn forbidden(tree: &Tree) -> Vec<Violation> {
    let mut found = Vec::new();
    for (path, text) in files(tree, "", ".rs") {
        for (number, line) in numbered(text) {
            let code = code(line);
            for (word, instead) in FORBIDDEN.iter().filter(|(word, _)| has_word(&code, word)) {
                found.push(Violation::new(path, number, format!("`{word}`: {instead}")));
            }
        }
    }
    found
}

pub(super) fn prints(tree: &Tree) -> Vec<Violation> {
    let mut found = Vec::new();
    for (path, text) in files(tree, "", ".rs") {
        if PRINT_PLACES.iter().any(|place| path.starts_with(place)) {
            continue;
        }
        for (number, code) in product_lines(path, text) {
            if let Some(word) = PRINTS.iter().find(|word| has_word(&code, word)) {
                found.push(Violation::new(
                    path,
                    number,
                    format!("`{word}`: use tracing, or return the text"),
                ));
            }
        }
    }
    found
}

/// A test that sleeps is slow where it is right and wrong where the machine is slow: wait for the thing itself. Where
/// the time is the subject, a comment on that line or above it says so.
pub(super) fn sleeps(tree: &Tree) -> Vec<Violation> {
    let mut found = Vec::new();
    let rust = files(tree, "", ".rs").map(|(path, text)| (path, test_lines(path, text)));
    let is_test = |path: &str| path.rsplit('/').next().is_some_and(|name| name.starts_with("test_"));
    let python = files(tree, "tests/", ".py").filter(|(path, _)| is_test(path));
    let python = python.map(|(path, text)| (path, numbered(text).collect::<Vec<_>>()));
    for (path, lines) in rust.chain(python) {
        let mut above = "";
        for (number, line) in lines {
            let has_reason =
                SLEEP_REASON.iter().any(|reason| line.contains(reason) || above.contains(reason));
            if has_word(&code(line), "sleep(") && !has_reason {
                found.push(Violation::new(
                    path,
                    number,
                    "wait for what you need, or give a `// sleep:` reason",
                ));
            }
            above = line;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::tree;
    use super::*;

    #[test]
    fn unfinished_code_is_seen() {
        assert_eq!(forbidden(&tree(&[("a.rs", "// todo!()\n#[expect(x, reason = \"#[allow(\")]\n")])), []);
        for bad in ["#[allow(dead_code)]\n", "#![allow(x)]\n", "    todo!()\n", "dbg!(x);\n"] {
            assert_eq!(forbidden(&tree(&[("a.rs", bad)])).len(), 1, "{bad}");
        }
    }

    #[test]
    fn prints_have_their_places() {
        let print = "println!(\"x\");\n";
        assert_eq!(prints(&tree(&[("probe/src/cli/a.rs", print), ("tests/kernel/a.rs", print)])), []);
        assert_eq!(prints(&tree(&[("probe/src/slo/tests.rs", print)])), []);
        assert_eq!(prints(&tree(&[("probe/src/slo/a.rs", print)])).len(), 1);
    }

    #[test]
    fn sleeps_have_reasons() {
        let good =
            "// sleep: the loop must be blocked for that long\nsleep(d);\nsleep(d); // sleep: the subject\n";
        assert_eq!(sleeps(&tree(&[("tests/kernel/a.rs", good), ("probe/src/a.rs", "sleep(d);\n")])), []);
        assert_eq!(sleeps(&tree(&[("tests/kernel/a.rs", "thread::sleep(d);\n")])).len(), 1);
        assert_eq!(sleeps(&tree(&[("probe/src/a.rs", "#[cfg(test)]\nsleep(d);\n")])).len(), 1);
        assert_eq!(sleeps(&tree(&[("tests/t/test_a.py", "time.sleep(1)\n")])).len(), 1);
        assert_eq!(sleeps(&tree(&[("tests/load/visitor.py", "time.sleep(1)\n")])), []);
    }
}
