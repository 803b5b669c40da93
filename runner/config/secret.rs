//! Texts that must never be shown: values that come from the environment or from a file of secrets. They are
//! cut out of every text that leaves the program.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use url::{Position, Url};

/// What stands in the place of a secret.
pub const SECRET_MARK: &str = "<secret>";

/// A shorter text is cut out only where it stands as a word of its own: as a part of words it would be found
/// everywhere, and tells nothing there.
const SHORTEST_ANYWHERE: usize = 6;
/// The shortest part of a secret that is masked where a message quotes it.
const SHORTEST_PART: usize = 3;
/// How many bytes of a secret's begin tell that it is one, so that what was cut short is found as well.
const TELLING: usize = 12;

/// Texts that must never be shown. Cheap to clone; prints as how many there are.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SecretTexts {
    /// The texts as they were given.
    given: Arc<[Box<str>]>,
    /// The forms in which they may turn up, the longest first, since one may be a part of another.
    forms: Arc<[Form]>,
}

/// A form of a secret.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Form {
    text: Box<str>,
    /// How many bytes of its begin tell that it is one.
    known_by: usize,
}

impl fmt::Debug for SecretTexts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} secrets", self.given.len())
    }
}

impl SecretTexts {
    /// Secrets; an empty text is none.
    pub fn new<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        let given: Vec<Box<str>> =
            texts.into_iter().filter(|text| !text.trim().is_empty()).map(Into::into).collect();
        let mut forms: Vec<Form> = given.iter().flat_map(|text| forms_of(text)).collect();
        forms.sort_by(|a, b| (b.text.len(), b).cmp(&(a.text.len(), a)));
        forms.dedup();
        Self { given: given.into(), forms: forms.into() }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.given.is_empty()
    }

    /// The texts themselves, for the one who looks for them in other things than texts.
    pub fn expose(&self) -> impl Iterator<Item = &str> {
        self.given.iter().map(AsRef::as_ref)
    }

    /// Every form in which they may turn up.
    pub fn forms(&self) -> impl Iterator<Item = &str> {
        self.forms.iter().map(|form| form.text.as_ref())
    }

    /// As [`SecretTexts::mask_in`], for a message that may quote a part of a secret: what stands in double
    /// quotes and is a part of one is masked as well.
    pub fn mask_quoted_in(&self, text: &mut String) {
        self.mask_in(text);
        let is_part = |quoted: &str| {
            quoted.chars().count() >= SHORTEST_PART && self.given.iter().any(|secret| secret.contains(quoted))
        };
        if text.split('"').skip(1).step_by(2).any(is_part) {
            let parts = text.split('"').enumerate();
            let masked =
                parts.map(|(at, part)| if at % 2 == 1 && is_part(part) { SECRET_MARK } else { part });
            *text = masked.collect::<Vec<_>>().join("\"");
        }
    }

    /// The text with [`SECRET_MARK`] for every secret in it.
    pub fn mask<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut masked = Cow::Borrowed(text);
        for form in self.forms.iter() {
            if let Some(without) = form.cut_from(&masked) {
                masked = Cow::Owned(without);
            }
        }
        masked
    }

    /// Masks a text where it stands; whether there was anything to mask.
    pub fn mask_in(&self, text: &mut String) -> bool {
        let masked = match self.mask(text) {
            Cow::Borrowed(_) => return false,
            Cow::Owned(masked) => masked,
        };
        *text = masked;
        true
    }
}

impl Form {
    fn new(text: &str, known_by: usize) -> Self {
        Self { text: text.into(), known_by: text.floor_char_boundary(known_by) }
    }

    fn cut_from(&self, text: &str) -> Option<String> {
        let telling = &self.text[..self.known_by];
        let mut out = String::new();
        let mut from = 0;
        while let Some(found) = text[from..].find(telling) {
            let at = from + found;
            let same = text[at..].bytes().zip(self.text.bytes()).take_while(|(a, b)| a == b).count();
            let end = text.floor_char_boundary(at + same);
            if self.text.len() < SHORTEST_ANYWHERE && !is_word(text, at, end) {
                out.push_str(&text[from..end]);
            } else {
                out.push_str(&text[from..at]);
                out.push_str(SECRET_MARK);
            }
            from = end;
        }
        out.push_str(&text[from..]);
        (out != text).then_some(out)
    }
}

/// Whether a part of a text is neither preceded nor followed by a letter or a digit.
fn is_word(text: &str, start: usize, end: usize) -> bool {
    let before = text[..start].chars().next_back();
    let after = text[end..].chars().next();
    !before.is_some_and(char::is_alphanumeric) && !after.is_some_and(char::is_alphanumeric)
}

/// A secret as it is, inside a JSON string, percent-encoded; and what a URL becomes when it is read.
fn forms_of(text: &str) -> Vec<Form> {
    let text = text.trim();
    let mut forms = Vec::new();
    let mut add = |form: &str, known_by: usize| forms.push(Form::new(form, known_by.min(form.len())));
    if let Ok(url) = Url::parse(text)
        && url.has_host()
    {
        // Its origin alone is no secret.
        let origin = url[..Position::BeforePath].len() + 1;
        let whole = url.as_str();
        for form in [text, &url[..Position::AfterQuery], whole] {
            add(form, if form == text { form.len() } else { origin + TELLING });
        }
        let user = [url.username(), url.password().unwrap_or_default()];
        let values: Vec<_> = url.query_pairs().map(|(_, value)| value.into_owned()).collect();
        let parts = user.into_iter().chain(values.iter().map(String::as_str));
        for part in parts.chain(url.query()).chain(url.path().strip_prefix('/')) {
            if part.len() >= SHORTEST_ANYWHERE {
                add(part, part.len());
            }
        }
        return forms;
    }
    add(text, TELLING);
    for part in parts_of(text) {
        add(&part, TELLING);
    }
    if let Ok(json) = serde_json::to_string(text) {
        add(&json[1..json.len() - 1], TELLING);
    }
    let encoded: String = url::form_urlencoded::byte_serialize(text.as_bytes()).collect();
    add(&encoded, TELLING);
    add(&encoded.replace('+', "%20"), TELLING);
    forms
}

/// What is a secret of its own in one: a token behind its scheme, the password inside Basic, the values of
/// cookies, the texts of a JSON body.
fn parts_of(text: &str) -> Vec<String> {
    let mut parts = Vec::new();
    if let Ok(json) = serde_json::from_str::<serde_json::Value>(text) {
        texts_of(&json, &mut parts);
    }
    for pair in text.split(';') {
        parts.extend(pair.split_once('=').map(|(_, value)| value.trim().trim_matches('"').to_owned()));
    }
    if let Some((scheme, rest)) = text.split_once(' ')
        && scheme.bytes().all(|byte| byte.is_ascii_alphabetic())
    {
        parts.push(rest.trim().to_owned());
        let decoded = STANDARD.decode(rest.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        if let Some(pair) = decoded.filter(|_| scheme.eq_ignore_ascii_case("basic")) {
            parts.extend(pair.split_once(':').map(|(_, password)| password.to_owned()));
            parts.push(pair);
        }
    }
    parts.retain(|part| part.len() >= SHORTEST_ANYWHERE);
    parts
}

/// The texts in a JSON value.
fn texts_of(value: &serde_json::Value, out: &mut Vec<String>) {
    match value {
        serde_json::Value::String(text) => out.push(text.clone()),
        serde_json::Value::Array(items) => items.iter().for_each(|item| texts_of(item, out)),
        serde_json::Value::Object(table) => table.values().for_each(|item| texts_of(item, out)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn masked(secrets: &[&str], text: &str, expected: &str) {
        assert_eq!(SecretTexts::new(secrets.iter().copied()).mask(text), expected);
    }

    #[test]
    fn every_occurrence_is_cut_out() {
        masked(&["hunter2"], "a hunter2 and hunter2b", "a <secret> and <secret>b");
        masked(&["hunter2", "hunter2-more"], "hunter2-more hunter2", "<secret> <secret>");
        masked(&["a\"b c&d/"], r#"{"x":"a\"b c&d/"} a%22b%20c%26d%2F"#, r#"{"x":"<secret>"} <secret>"#);
        masked(&[], "nothing", "nothing");
        masked(&["", "  "], "nothing", "nothing");
    }

    #[test]
    fn what_was_cut_short_is_found() {
        masked(&["abcdefghijklmnopqrstuvwxyz"], "token abcdefghijklmnop…", "token <secret>…");
    }

    #[test]
    fn parts_that_are_secrets_by_themselves_are_found() {
        masked(&["Bearer abcdefgh"], "token abcdefgh", "token <secret>");
        masked(&["Basic bWU6cGFzc3dvcmQ="], "password of me:password", "<secret> of <secret>");
        masked(&["id=abcdefgh; x=1"], "abcdefgh x=1", "<secret> x=1");
        masked(&[r#"{"pin": ["abcdefgh", 1]}"#], "pin abcdefgh", "pin <secret>");
    }

    #[test]
    fn a_short_secret_is_a_word_of_its_own() {
        masked(&["s"], "this is \"s\"", "this is \"<secret>\"");
        masked(&["é"], "été é", "été <secret>");
    }

    #[test]
    fn parts_of_a_secret_are_masked_where_they_are_quoted() {
        let secrets = SecretTexts::new(["../checks/hunter2.wasm"]);
        let mut text = "\"hunter2\" cannot be the name of \"cart\": hunter2 is no word".to_owned();
        secrets.mask_quoted_in(&mut text);
        assert_eq!(text, "\"<secret>\" cannot be the name of \"cart\": hunter2 is no word");
    }

    #[test]
    fn a_url_is_found_as_it_is_read() {
        let secrets = ["HTTPS://Shop.example/a?token=abcdefgh&page=1#x"];
        masked(&secrets, "get https://shop.example/a?token=abcdefgh&page=1", "get <secret>");
        masked(&secrets, "\"abcdefgh\"", "\"<secret>\"");
        masked(&secrets, "https://shop.example/ is another", "https://shop.example/ is another");
        masked(&["https://shop.example/"], "https://shop.example/x", "<secret>x");
    }
}
