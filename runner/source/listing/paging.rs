//! Where a listing goes on: the header `Link` (RFC 8288), or a parameter of the URL.

use url::Url;

/// The target of the first link of relation `next` in values of the header `Link`.
pub fn next_of_links<'h>(values: impl Iterator<Item = &'h str>) -> Option<String> {
    values.into_iter().find_map(next_of_links_value)
}

fn next_of_links_value(value: &str) -> Option<String> {
    let mut rest = value;
    loop {
        let (target, after) = rest[rest.find('<')? + 1..].split_once('>')?;
        let (is_next, after) = parameters(after);
        if is_next {
            return Some(target.trim().to_owned());
        }
        rest = after;
    }
}

/// Whether the parameters of a link say `rel=next`, and what follows them. Only the first `rel` counts (RFC 8288
/// section 3.3).
fn parameters(text: &str) -> (bool, &str) {
    let mut relation: Option<String> = None;
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        let Some(after) = rest.strip_prefix(';') else { break };
        let end = after.find(['=', ';', ',']).unwrap_or(after.len());
        let name = after[..end].trim();
        rest = &after[end..];
        let Some(after) = rest.strip_prefix('=') else { continue };
        let (value, after) = parameter_value(after.trim_start());
        rest = after;
        if name.eq_ignore_ascii_case("rel") {
            relation.get_or_insert(value);
        }
    }
    let is_next = relation
        .is_some_and(|names| names.split_ascii_whitespace().any(|name| name.eq_ignore_ascii_case("next")));
    (is_next, rest)
}

/// A token or a quoted text, and what follows it.
fn parameter_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([';', ',']).unwrap_or(text.len());
        return (text[..end].trim().to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    (value, "")
}

/// The URL with one parameter set to a value, the others as they are.
pub fn with_parameter(url: &Url, name: &str, value: &str) -> Url {
    let others: Vec<(String, String)> = url
        .query_pairs()
        .filter(|(known, _)| known != name)
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect();
    let mut next = url.clone();
    next.query_pairs_mut().clear().extend_pairs(others).append_pair(name, value);
    next
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn the_next_link_is_found_among_others() {
        let cases = [
            ("<https://a.example/?page=2>; rel=\"next\"", Some("https://a.example/?page=2")),
            ("</p1>; rel=prev, </p3>; rel=next, </p9>; rel=last", Some("/p3")),
            ("</p3>; title=\"a, \\\"b\\\"; rel=next\"; rel=\"prev\", </p4>; REL=\"last Next\"", Some("/p4")),
            ("</p3>; rel=prev; rel=next", None),
            ("</a,b;c>;rel=next", Some("/a,b;c")),
            ("</p3>; rel=\"next", Some("/p3")),
            ("</p3>", None),
            ("<", None),
            ("", None),
        ];
        for (value, expected) in cases {
            assert_eq!(next_of_links([value].into_iter()).as_deref(), expected, "{value}");
        }
    }

    #[test]
    fn a_parameter_takes_the_place_of_an_earlier_one() {
        let url = Url::parse("https://a.example/new.json?limit=100&after=t3_a&x=%26").unwrap();
        assert_eq!(
            with_parameter(&url, "after", "t3 b&").as_str(),
            "https://a.example/new.json?limit=100&x=%26&after=t3+b%26"
        );
    }
}
