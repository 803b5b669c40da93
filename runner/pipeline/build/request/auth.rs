//! Who asks: the `authorization` header of a pipeline's requests.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::config::{Code, Diagnostic, Diagnostics};
use crate::fetch::{AuthText, RequestText};
use crate::pipeline::build::Site;

/// The value of `authorization` that the table asks for. None where it asks for none or a wrong one, which is told.
pub(super) fn authorization(
    text: &RequestText,
    site: Site<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<String> {
    let auth = text.auth.as_ref()?;
    let place = site.document.hidden_place_or_file(auth.span.as_ref());
    let mut wrong = |code: Code, message: &str, hint: &str| {
        diagnostics.add(Diagnostic::error(code, place.clone(), message).hint(hint));
        None
    };
    if text.headers.keys().any(|name| name.eq_ignore_ascii_case("authorization")) {
        let hint = "keep \"auth\", or the header";
        return wrong(Code::Conflict, "both \"auth\" and a header \"authorization\" say who asks", hint);
    }
    let AuthText { bearer, basic, oauth2 } = &auth.value;
    let given = [("bearer", bearer.is_some()), ("basic", basic.is_some()), ("oauth2", oauth2.is_some())];
    let mut given = given.into_iter().filter(|(_, is_given)| *is_given).map(|(name, _)| name);
    if let (Some(first), Some(second)) = (given.next(), given.next()) {
        let message = format!("\"{first}\" and \"{second}\" cannot both be used");
        return wrong(Code::Conflict, &message, "keep one of them");
    }
    match (bearer, basic) {
        // RFC 6750 section 2.1.
        (Some(token), _) if is_token(token.expose()) => Some(format!("Bearer {}", token.expose())),
        (Some(_), _) => {
            let hint =
                "a token is letters, digits and -._~+/ with = at its end, without \"Bearer\" before it";
            wrong(Code::BadValue, "this cannot be a bearer token", hint)
        }
        // RFC 7617 section 2.
        (None, Some(basic)) if basic.username.expose().contains(':') => wrong(
            Code::BadValue,
            "a user's name cannot have a colon",
            "what follows it would be its password",
        ),
        (None, Some(basic)) => {
            let pair = format!("{}:{}", basic.username.expose(), basic.password.expose());
            Some(format!("Basic {}", STANDARD.encode(pair)))
        }
        // It is fetched, and comes to the headers then.
        (None, None) if oauth2.is_some() => None,
        (None, None) => {
            let hint =
                "give it bearer = { env = \"TOKEN\" }, or basic = { username = …, password = … }, or oauth2";
            wrong(Code::BadValue, "\"auth\" says nothing", hint)
        }
    }
}

/// Whether a text is a `b64token`.
fn is_token(text: &str) -> bool {
    let bare = text.trim_end_matches('=');
    !bare.is_empty() && bare.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens() {
        for token in ["abc", "a-._~+/9==", "eyJhbGciOiJIUzI1NiJ9.e30.c2ln"] {
            assert!(is_token(token), "{token}");
        }
        for text in ["", "=", "Bearer abc", "a b", "a=b", "a\nb", "é"] {
            assert!(!is_token(text), "{text}");
        }
    }
}
