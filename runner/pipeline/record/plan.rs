//! What a pipeline file says of records, checked.

use http::HeaderName;

use crate::check::RecordRules;
use crate::config::{Code, Diagnostic, Diagnostics, Document, Hidden, Located, Place, SecretTexts};
use crate::fetch::{RequestText, proxy_secrets};
use crate::model::Outcome;
use crate::pipeline::config::{PipelineText, RecordText, RecordWhenText};

/// The least size of all records of a pipeline: it is divided between files.
const SMALLEST_SIZE: u64 = 1 << 20;
/// A body that is no text takes four thirds of its size in a record, which has other parts too.
const BODIES_IN_SIZE: u64 = 4;

/// How a pipeline records.
#[derive(Debug, Clone)]
pub struct RecordPlan {
    /// Which attempts.
    pub when: When,
    /// Bytes of all files at most.
    pub max_size: u64,
    /// Bytes of a body at most.
    pub max_body: usize,
    /// What gets into a record.
    pub rules: RecordRules,
}

/// Which attempts are recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Those that are not `up`.
    NotUp,
    /// All of them.
    Always,
}

impl RecordPlan {
    /// Whether an attempt of this outcome is recorded.
    pub fn wants(&self, outcome: Outcome) -> bool {
        match self.when {
            When::Always => true,
            When::NotUp => outcome != Outcome::Up,
        }
    }

    /// The plan of a file; `Err` where it is wrong, which has been told.
    pub(in crate::pipeline) fn of(
        text: &PipelineText,
        document: &Document,
        diagnostics: &mut Diagnostics,
    ) -> Result<Option<Self>, ()> {
        let Some(record) = &text.record else { return Ok(None) };
        let mut is_right = true;
        let mut wrong = |place: Place, message: String| {
            diagnostics.add(Diagnostic::error(Code::BadValue, place, message));
            is_right = false;
        };
        let (size, body) = (record.max_size.value.0, record.max_body.value.0);
        if size < SMALLEST_SIZE {
            wrong(record.max_size.place(document), "the records of a pipeline take at least 1MiB".to_owned());
        } else if body > size / BODIES_IN_SIZE {
            // The one of the two that the file names.
            let named = if record.max_body.span.is_some() { &record.max_body } else { &record.max_size };
            let message =
                format!("max_body is at most a quarter of max_size, which is {}", record.max_size.value);
            wrong(named.place(document), message);
        }
        let mut headers = Vec::new();
        for name in &record.mask_headers {
            match HeaderName::from_bytes(name.value.as_bytes()) {
                Ok(header) => headers.push(header),
                Err(_) => wrong(name.place(document), format!("\"{}\" is not a header name", name.value)),
            }
        }
        if !is_right {
            return Err(());
        }
        Ok(Some(plan(record, text, headers, &document.secrets())))
    }
}

fn plan(
    record: &RecordText,
    text: &PipelineText,
    headers: Vec<HeaderName>,
    secrets: &SecretTexts,
) -> RecordPlan {
    let max_body = usize::try_from(record.max_body.value.0).unwrap_or(usize::MAX);
    let named =
        |(name, value): (&'_ String, &'_ Located<Hidden>)| (name.clone(), value.value.expose().to_owned());
    let request = &text.request;
    let sent: Vec<(String, String)> = request
        .headers
        .iter()
        .map(named)
        .chain(request.form.iter().map(named))
        .chain(credentials(request))
        .collect();
    let sent = sent.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let body = request.body.as_ref().map(|body| body.value.expose());
    RecordPlan {
        when: match record.when {
            RecordWhenText::NotUp => When::NotUp,
            RecordWhenText::Always => When::Always,
        },
        max_size: record.max_size.value.0,
        max_body,
        rules: RecordRules::with_secrets(max_body, headers, sent, body, secrets),
    }
}

/// What says who asks, as a header has it and in plain.
fn credentials(request: &RequestText) -> impl Iterator<Item = (String, String)> {
    let auth = request.auth.as_ref().map(|auth| &auth.value);
    let token = auth.and_then(|auth| auth.bearer.as_ref());
    let password = auth.and_then(|auth| auth.basic.as_ref()).map(|basic| &basic.password);
    let client_secret = auth.and_then(|auth| auth.oauth2.as_ref()).map(|oauth| &oauth.client_secret);
    let own = [token, password, client_secret].into_iter().flatten().map(|text| text.expose().to_owned());
    let to_proxy = request.proxy_url.iter().flat_map(|url| proxy_secrets(url.value.expose()));
    own.map(|text| ("authorization".to_owned(), text))
        .chain(to_proxy.map(|text| ("proxy-authorization".to_owned(), text)))
}
