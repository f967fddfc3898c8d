//! The known word that a mistyped one was probably meant to be.

/// Below this similarity a suggestion would only puzzle; 1 is equality.
const MIN_SIMILARITY: f64 = 0.6;

/// The candidate most similar to `word`, where one is similar at all.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (strsim::normalized_damerau_levenshtein(word, candidate), candidate))
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .filter(|(similarity, _)| *similarity >= MIN_SIMILARITY)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn typing_errors_are_found_and_strangers_are_not() {
        let known = ["target", "limit", "endpoint"];
        assert_eq!(nearest("treshold", known), None);
        assert_eq!(nearest("traget", known), Some("target"));
        assert_eq!(nearest("limits", known), Some("limit"));
        assert_eq!(nearest("", []), None);
    }
}
