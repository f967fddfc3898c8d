//! Stage rules: how the names of files and requests say which stage of which document they are.

use regex_lite::Regex;

use super::Route;

/// Longer names are no stage's or document's, bytes.
const MAX_NAME_BYTES: usize = 200;

/// Guesses for those who give no rules: layouts that are common.
const GUESSES: [&str; 5] = [
    "{doc}/{index}_{stage}.*",
    "{doc}/stage{index}_{stage}.*",
    "{doc}/stage{index}.json",
    "checkpoints/{doc}/{stage}.*",
    "checkpoints/{doc}_{stage}.*",
];
/// What a guess must end with.
const GUESSED_SUFFIXES: [&str; 8] =
    [".json", ".json.gz", ".jsonl", ".pkl", ".pickle", ".npz", ".parquet", ".msgpack"];

/// All rules of a profile.
#[derive(Clone, Debug, Default)]
pub struct StageRules {
    /// The first that matches counts.
    pub rules: Vec<StageRule>,
    /// Names of the stages in their order, where that is given.
    pub order: Vec<String>,
    /// A file of this name brings a document in.
    pub begins: Option<FilePattern>,
    /// Requests that rewrite a checkpoint without running its stage.
    pub edits: Vec<Route>,
    /// Requests after which a document goes on.
    pub resumes: Vec<Route>,
    /// Nobody gave these rules.
    pub is_guess: bool,
}

/// How one stage, or several, are told.
#[derive(Clone, Debug)]
pub struct StageRule {
    /// The pattern as it was given.
    pub source: String,
    /// The stage's name where the pattern does not hold one.
    pub stage: Option<String>,
    /// Its number where the pattern does not hold one.
    pub index: Option<u32>,
    /// What is matched.
    pub by: StageBy,
}

/// What tells a stage.
#[derive(Clone, Debug)]
pub enum StageBy {
    /// A checkpoint file.
    File(FilePattern),
    /// A request: it is the stage.
    Endpoint {
        /// Of the request.
        method: String,
        /// Of the request, without query.
        path: FilePattern,
    },
}

/// A pattern of file names: `{doc}`, `{stage}`, `{index}`, `*` within a name, `**` over several.
#[derive(Clone, Debug)]
pub struct FilePattern {
    whole: Regex,
    folder: Option<Regex>,
}

/// What a name said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageMatch {
    /// Which rule matched.
    pub rule: usize,
    /// The document; none where the rule names none.
    pub doc: Option<String>,
    /// The stage; none where each new version of the file is the next stage.
    pub stage: Option<String>,
    /// Its number.
    pub index: Option<u32>,
}

impl FilePattern {
    /// Reads a pattern. One without a slash at its front matches the end of a path, at a slash.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.ends_with('/') {
            return Err("a pattern must name a file".to_owned());
        }
        let expression = expression(text)?;
        let folder = text.rsplit_once('/').map(|(folder, _)| folder).filter(|folder| !folder.is_empty());
        let compile = |text: &str| Regex::new(text).map_err(|error| format!("cannot be used: {error}"));
        Ok(Self {
            whole: compile(&expression)?,
            folder: folder.map(self::expression).transpose()?.map(|text| compile(&text)).transpose()?,
        })
    }

    fn find(&self, path: &str) -> Option<(Option<String>, Option<String>, Option<u32>)> {
        let found = self.whole.captures(path)?;
        let name = |name: &str| {
            found
                .name(name)
                .map(|found| found.as_str().to_owned())
                .filter(|name| name.len() <= MAX_NAME_BYTES)
        };
        Some((name("doc"), name("stage"), name("index").and_then(|index| index.parse().ok())))
    }

    /// The document of a name that matches; an empty one where the pattern names none.
    pub fn document(&self, path: &str) -> Option<String> {
        self.find(path).map(|(doc, _, _)| doc.unwrap_or_default())
    }

    /// Whether a file of this name stands where those of the pattern do.
    pub fn is_beside(&self, path: &str) -> bool {
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        self.folder.as_ref().is_some_and(|pattern| pattern.is_match(folder))
    }
}

fn expression(pattern: &str) -> Result<String, String> {
    let mut out = if pattern.starts_with('/') { "^".to_owned() } else { "(?:^|/)".to_owned() };
    let mut seen = Vec::new();
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        let (piece, taken) = if let Some(after) = rest.strip_prefix('{') {
            let (name, _) = after.split_once('}').ok_or("a `{` without its `}`")?;
            if seen.contains(&name) {
                return Err(format!("`{{{name}}}` stands twice"));
            }
            seen.push(name);
            let piece = match name {
                "doc" => "(?P<doc>[^/]+)",
                "stage" => "(?P<stage>[^/]+?)",
                "index" => "0*(?P<index>[0-9]{1,6})",
                _ => return Err(format!("unknown `{{{name}}}` (known are {{doc}}, {{stage}}, {{index}})")),
            };
            (piece.to_owned(), name.len() + 2)
        } else if rest.starts_with("**") {
            (".*".to_owned(), 2)
        } else if c == '*' {
            ("[^/]*".to_owned(), 1)
        } else {
            (regex_lite::escape(&c.to_string()), c.len_utf8())
        };
        out.push_str(&piece);
        rest = &rest[taken..];
    }
    Ok(out + "$")
}

impl StageRules {
    /// The rules of a profile that has none.
    pub fn guessed() -> Self {
        let rule = |source: &&str| {
            let by = StageBy::File(FilePattern::parse(source).ok()?);
            Some(StageRule { source: (*source).to_owned(), stage: None, index: None, by })
        };
        Self { rules: GUESSES.iter().filter_map(rule).collect(), is_guess: true, ..Self::default() }
    }

    /// What the name of a file says.
    pub fn file(&self, path: &str) -> Option<StageMatch> {
        if self.is_guess && !GUESSED_SUFFIXES.iter().any(|suffix| path.ends_with(suffix)) {
            return None;
        }
        self.find(|rule| match &rule.by {
            StageBy::File(pattern) => pattern.find(path),
            StageBy::Endpoint { .. } => None,
        })
    }

    /// What a request says.
    pub fn request(&self, of: &str, target: &str) -> Option<StageMatch> {
        self.find(|rule| match &rule.by {
            StageBy::Endpoint { method, path } if method == of => path.find(target),
            _ => None,
        })
    }

    fn find(
        &self,
        find: impl Fn(&StageRule) -> Option<(Option<String>, Option<String>, Option<u32>)>,
    ) -> Option<StageMatch> {
        self.rules.iter().enumerate().find_map(|(at, rule)| {
            let (doc, stage, index) = find(rule)?;
            // A guess takes `{doc}/12.json` for nothing.
            let stage = stage.or_else(|| rule.stage.clone());
            Some(StageMatch { rule: at, doc, stage, index: index.or(rule.index) })
        })
    }

    /// A file of this name may become a checkpoint: it stands where they do.
    pub fn is_beside(&self, path: &str) -> bool {
        !self.is_guess
            && self.rules.iter().any(|rule| match &rule.by {
                StageBy::File(pattern) => pattern.is_beside(path),
                StageBy::Endpoint { .. } => false,
            })
    }

    /// Place of a stage in the given order.
    pub fn place(&self, stage: &str) -> Option<usize> {
        self.order.iter().position(|name| name == stage)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rules(patterns: &[&str]) -> StageRules {
        let rule = |source: &&str| StageRule {
            source: (*source).to_owned(),
            stage: None,
            index: None,
            by: StageBy::File(FilePattern::parse(source).unwrap()),
        };
        StageRules { rules: patterns.iter().map(rule).collect(), ..StageRules::default() }
    }

    fn found(rules: &StageRules, path: &str) -> Option<Found> {
        rules.file(path).map(|found| (found.doc, found.stage, found.index))
    }

    /// Document, stage and number.
    type Found = (Option<String>, Option<String>, Option<u32>);

    fn all(doc: &str, stage: &str, index: u32) -> Found {
        (Some(doc.to_owned()), Some(stage.to_owned()), Some(index))
    }

    #[test]
    fn names_are_understood() {
        let layouts = rules(&["checkpoints/{doc}/{index}_{stage}.json", "flat/{doc}-{index}.{stage}"]);
        assert_eq!(found(&layouts, "/data/checkpoints/a b/02_ocr_x.json"), Some(all("a b", "ocr_x", 2)));
        assert_eq!(found(&layouts, "/flat/d-1-10.ocr"), Some(all("d-1", "ocr", 10)));
        assert_eq!(found(&layouts, "/data/checkpoints/d/02_ocr.json.tmp"), None);
        assert_eq!(found(&layouts, "/data/mycheckpoints/d/02_ocr.json"), None);
        assert_eq!(found(&layouts, "/data/checkpoints/d/x/02_ocr.json"), None);
        assert!(layouts.is_beside("/data/checkpoints/d/tmp123"));
        assert!(!layouts.is_beside("/data/checkpoints/tmp123"));
        let absolute = rules(&["/srv/**/{stage}_checkpoint.json"]);
        assert_eq!(
            found(&absolute, "/srv/a/b/ocr_checkpoint.json"),
            Some((None, Some("ocr".to_owned()), None))
        );
        assert_eq!(found(&absolute, "/x/srv/a/ocr_checkpoint.json"), None);
    }

    #[test]
    fn guesses_are_careful() {
        let guess = StageRules::guessed();
        assert_eq!(found(&guess, "/x/doc1/03_layout.json"), Some(all("doc1", "layout", 3)));
        assert_eq!(found(&guess, "/x/doc1/stage2_ocr.json.gz").and_then(|found| found.2), Some(2));
        assert_eq!(found(&guess, "/x/doc1/03_layout.py"), None);
        assert_eq!(found(&guess, "/x/package.json"), None);
        assert!(!guess.is_beside("/x/doc1/y"));
    }

    #[test]
    fn wrong_patterns_are_told() {
        for (pattern, problem) in [
            ("{doc", "without its"),
            ("{document}", "unknown `{document}`"),
            ("{doc}/{doc}", "twice"),
            ("a/", "must name a file"),
        ] {
            assert!(FilePattern::parse(pattern).unwrap_err().contains(problem), "{pattern}");
        }
    }

    proptest! {
        /// Any pattern compiles or is refused, and any path is matched or not, in bounded time.
        #[test]
        fn anything_goes(pattern in "[{}a-z*/.()\\[\\\\+]{0,20}", path in "[ -~/]{0,60}") {
            if let Ok(pattern) = FilePattern::parse(&pattern) {
                let _ = pattern.document(&path);
                let _ = pattern.is_beside(&path);
            }
        }

        /// A name that is made from a pattern is understood as what it was made from.
        #[test]
        fn what_is_made_is_found(doc in "[a-z0-9-]{1,20}", stage in "[a-z_]{1,12}", index in 0u32..999) {
            let layout = rules(&["c/{doc}/{index}_{stage}.json"]);
            let path = format!("/tmp/c/{doc}/{index:02}_{stage}.json");
            prop_assert_eq!(found(&layout, &path), Some(all(&doc, &stage, index)));
        }
    }
}
