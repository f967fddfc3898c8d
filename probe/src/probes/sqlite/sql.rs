//! A statement's text without what is the application's secret: literals become `?`, comments go, lists of literals become
//! one. Pure.

use sqlparser::dialect::SQLiteDialect;
use sqlparser::tokenizer::{Token, Tokenizer, Word};

/// Characters of a text that are kept.
const MAX_CHARS: usize = 300;

/// The first statement of a text. What cannot be told from a literal is taken for one; nothing is kept from the first
/// character on that is not SQL.
pub(super) fn normalise(text: &str) -> String {
    let mut tokens = Vec::new();
    let dialect = SQLiteDialect {};
    // What stands before an error is in the tokens: a text may be cut in the middle of a literal.
    let is_whole = Tokenizer::new(&dialect, text).tokenize_with_location_into_buf(&mut tokens).is_ok();
    let tokens: Vec<Token> = tokens.into_iter().map(|spanned| spanned.token).collect();
    let tokens: Vec<&Token> = tokens.iter().filter(|token| !matches!(token, Token::Whitespace(_))).collect();
    let mut words: Vec<String> = Vec::new();
    let mut is_ended = false;
    for (at, token) in tokens.iter().enumerate() {
        match token {
            Token::SemiColon if words.is_empty() => continue,
            Token::SemiColon | Token::EOF => {
                is_ended = true;
                break;
            }
            _ => {}
        }
        let before = at.checked_sub(1).map(|before| tokens[before]);
        // `:name` and `@name` stand for a literal.
        let is_parameter = matches!(before, Some(Token::Colon | Token::AtSign));
        if !is_parameter || !matches!(token, Token::Word(_)) {
            push(&mut words, kept(token, before, tokens.get(at + 1).copied()));
        }
    }
    if !is_whole && !is_ended {
        push(&mut words, "?".to_owned());
    }
    join(&words)
}

/// A token as it may be shown.
fn kept(token: &Token, before: Option<&Token>, after: Option<&Token>) -> String {
    match token {
        Token::Word(word @ Word { quote_style: None, .. }) => word.value.clone(),
        // SQLite takes a name in quotes that it does not know for a string.
        Token::Word(word) if is_name(word, before, after) => word.to_string(),
        Token::Comma
        | Token::LParen
        | Token::RParen
        | Token::Period
        | Token::Eq
        | Token::DoubleEq
        | Token::Neq
        | Token::Lt
        | Token::Gt
        | Token::LtEq
        | Token::GtEq
        | Token::Plus
        | Token::Minus
        | Token::Mul
        | Token::Div
        | Token::Mod
        | Token::StringConcat
        | Token::Ampersand
        | Token::Pipe
        | Token::ShiftLeft
        | Token::ShiftRight
        | Token::Tilde
        | Token::Arrow
        | Token::LongArrow => token.to_string(),
        _ => "?".to_owned(),
    }
}

/// Whether something in quotes stands where only a name can.
fn is_name(word: &Word, before: Option<&Token>, after: Option<&Token>) -> bool {
    const BEFORE: [&str; 9] = ["FROM", "INTO", "UPDATE", "JOIN", "TABLE", "INDEX", "ON", "TRIGGER", "VIEW"];
    let is_after_keyword = |token: &Token| match token {
        Token::Word(Word { value, quote_style: None, .. }) => {
            BEFORE.iter().any(|keyword| value.eq_ignore_ascii_case(keyword))
        }
        Token::Period => true,
        _ => false,
    };
    word.quote_style != Some('\'')
        && (before.is_some_and(is_after_keyword) || matches!(after, Some(Token::Period)))
}

/// Adds a word; a further literal of a list, or a sign or a number of a placeholder, says nothing.
fn push(words: &mut Vec<String>, word: String) {
    let ends_with = |words: &[String], end: &[&str]| {
        words.len() >= end.len() && words[words.len() - end.len()..].iter().zip(end).all(|(a, b)| a == b)
    };
    if word == "?" && ends_with(words, &["?", ","]) {
        words.pop();
        return;
    }
    if word == "?" && ends_with(words, &["?"]) {
        return;
    }
    words.push(word);
    if ends_with(words, &["(", "?", ")", ",", "(", "?", ")"]) {
        words.truncate(words.len() - 4);
    }
}

fn join(words: &[String]) -> String {
    let mut text = String::new();
    for (at, word) in words.iter().enumerate() {
        let is_close = matches!(word.as_str(), "," | ")" | "." | "(" if word != "(")
            || at.checked_sub(1).is_some_and(|before| matches!(words[before].as_str(), "(" | "."));
        if !text.is_empty() && !is_close {
            text.push(' ');
        }
        text.push_str(word);
    }
    let mut kept: String = text.chars().take(MAX_CHARS).collect();
    if kept.len() < text.len() {
        kept.push('…');
    }
    kept
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn literals_become_marks() {
        for (text, expected) in [
            ("SELECT * FROM t WHERE a = 'x' AND b=12.5e3", "SELECT * FROM t WHERE a = ? AND b = ?"),
            ("INSERT INTO t(a,b) VALUES (1,'two'),(3,x'04')", "INSERT INTO t (a, b) VALUES (?)"),
            ("select a from t where b in (?, ?, ?3, :name)", "select a from t where b in (?)"),
            ("UPDATE \"doc\" SET a = \"secret\" -- mine", "UPDATE \"doc\" SET a = ?"),
            (
                "SELECT \"order\".\"x\" FROM \"order\" /* c */ LIMIT 5",
                "SELECT \"order\".\"x\" FROM \"order\" LIMIT ?",
            ),
            ("SELECT 'it''s', NULL; DROP TABLE t", "SELECT ?, NULL"),
            (" ; BEGIN IMMEDIATE;", "BEGIN IMMEDIATE"),
            ("SELECT 1 WHERE a = 'cut in the midd", "SELECT ? WHERE a = ?"),
            ("PRAGMA journal_mode=wal", "PRAGMA journal_mode = wal"),
            ("", ""),
        ] {
            assert_eq!(normalise(text), expected, "{text}");
        }
    }

    proptest! {
        /// Whatever stands in a literal is not in the result, also where the text ends inside it.
        #[test]
        fn literals_are_never_kept(secret in "[a-z]{12}[ -~]{0,8}", cut in 0usize..12, style in 0usize..4) {
            let quoted = match style {
                0 => format!("'{}'", secret.replace('\'', "''")),
                1 => format!("x'{}'", "5ec4e7"),
                2 => format!("\"{}\"", secret.replace('"', "\"\"")),
                _ => "5364758697".to_owned(),
            };
            let text = format!("SELECT a FROM t WHERE b = {quoted}");
            let text = &text[..text.len() - cut.min(text.len())];
            let kept = normalise(text);
            for part in ["5ec4e7", "5364758", &secret[..6]] {
                prop_assert!(!kept.contains(part), "{text} became {kept}");
            }
        }

        /// The same statement with other literals is the same statement; nothing panics, and nothing grows.
        #[test]
        fn other_literals_same_text(a in any::<u64>(), b in "[^']{0,40}") {
            let text = |a: u64, b: &str| format!("UPDATE t SET a = {a}, b = '{b}' WHERE c = {a}");
            prop_assert_eq!(normalise(&text(a, &b)), normalise(&text(1, "x")));
        }

        #[test]
        fn anything_is_taken(text in "\\PC{0,300}") {
            prop_assert!(normalise(&text).chars().count() <= MAX_CHARS + 1);
        }
    }
}
