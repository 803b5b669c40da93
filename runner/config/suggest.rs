//! "Did you mean".

/// The known word nearest to `word`, if one is near enough to be a slip of the fingers.
pub fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = (word.chars().count() / 3).clamp(1, 3);
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word.to_lowercase(), candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_found_and_strangers_are_not() {
        let known = ["timeout", "headers", "method", "body_limit"];
        assert_eq!(did_you_mean("timeot", known), Some("timeout"));
        assert_eq!(did_you_mean("Timeout", known), Some("timeout"));
        assert_eq!(did_you_mean("body-limit", known), Some("body_limit"));
        assert_eq!(did_you_mean("every", known), None);
    }
}
