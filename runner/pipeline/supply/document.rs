//! Fetches a document that has targets, again and again, and again only where it has changed.

use std::time::Duration;

use http::header::{self, HeaderMap};
use hyper::body::Bytes;
use url::Url;

use super::SupplyContext;
use super::plan::DocumentPlan;
use crate::fetch::{Request, RequestSpec};
use crate::model::Exchange;

/// How long to wait after a first document that failed; then twice as long each time, up to the interval.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// A document as it came.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) bytes: Bytes,
    pub(super) content_type: Option<String>,
    /// Where it came from, after redirects.
    pub(super) base: Url,
    /// The values of the header `Link`.
    pub(super) links: Vec<String>,
    validators: Vec<(String, String)>,
}

/// Asks for documents of one plan.
pub(super) struct Documents<'p> {
    plan: &'p DocumentPlan,
    context: &'p SupplyContext,
    request: Option<Request>,
    /// What the last good document is known again by (`if-none-match`, `if-modified-since`).
    validators: Vec<(String, String)>,
    had_one: bool,
    failures: u32,
}

impl<'p> Documents<'p> {
    pub(super) fn new(plan: &'p DocumentPlan, context: &'p SupplyContext) -> Self {
        Self { plan, context, request: None, validators: Vec::new(), had_one: false, failures: 0 }
    }

    /// Fetches the document at `url`; none where it is the one that was taken last. The error is for people.
    pub(super) async fn get(&mut self, url: &Url) -> Result<Option<Document>, String> {
        let request = match &self.request {
            Some(request) => request.clone(),
            None => self.build()?,
        };
        let clock = &self.context.clock;
        let deadline = clock.now() + request.timeout();
        let exchange = self.context.fetcher.fetch(&request, url.as_str(), deadline, clock).await;
        self.request = Some(request);
        self.read(exchange, url)
    }

    /// The document was good: the next time, only another one is of interest.
    pub(super) fn took(&mut self, document: &Document) {
        if self.validators != document.validators {
            self.validators.clone_from(&document.validators);
            self.request = None;
        }
    }

    /// How long to wait until the next fetch begins, after one that began so long ago.
    pub(super) fn pause(&mut self, was_good: bool, since: Duration) -> Duration {
        let every = self.plan.every;
        if was_good {
            self.had_one = true;
            self.failures = 0;
        } else {
            self.failures = self.failures.saturating_add(1);
        }
        // Whoever waits for the very first targets should not wait for a whole interval.
        if !self.had_one {
            return every.min(FIRST_RETRY.saturating_mul(1 << self.failures.saturating_sub(1).min(20)));
        }
        // Keeps the pace; what a slow fetch has missed is not made up for.
        let late = since.as_nanos() % every.as_nanos().max(1);
        every.saturating_sub(Duration::from_nanos(u64::try_from(late).unwrap_or(0)))
    }

    fn build(&self) -> Result<Request, String> {
        let mut spec: RequestSpec = self.plan.request.clone();
        spec.headers.extend(self.validators.iter().cloned());
        // The plan was built once already; a tag that can be no header is not asked for again.
        Request::build(spec)
            .or_else(|_| Request::build(self.plan.request.clone()))
            .map_err(|_| "the request cannot be made".to_owned())
    }

    fn read(&self, exchange: Exchange, url: &Url) -> Result<Option<Document>, String> {
        if let Some(failure) = &exchange.failure {
            return Err(format!("{}: {}", failure.kind, failure.message));
        }
        let Some(head) = &exchange.head else { return Err("there is no answer".to_owned()) };
        if head.status == 304 && !self.validators.is_empty() {
            return Ok(None);
        }
        if head.status != 200 {
            return Err(format!("the answer has status {}, not 200", head.status));
        }
        if exchange.body.starts_with(&[0x1F, 0x8B]) {
            return Err("the answer is compressed, which was not asked for".to_owned());
        }
        let base = exchange.final_url.as_deref().and_then(|text| Url::parse(text).ok());
        Ok(Some(Document {
            content_type: text_of(&head.headers, header::CONTENT_TYPE),
            base: base.unwrap_or_else(|| url.clone()),
            links: head
                .headers
                .get_all(header::LINK)
                .iter()
                .filter_map(|value| value.to_str().ok().map(str::to_owned))
                .collect(),
            validators: validators(&head.headers),
            bytes: exchange.body,
        }))
    }
}

fn text_of(headers: &HeaderMap, name: header::HeaderName) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

/// The tag counts more than the date (RFC 9110 section 13.1.3), so the date goes along only without one.
fn validators(headers: &HeaderMap) -> Vec<(String, String)> {
    let tag = text_of(headers, header::ETAG).map(|tag| ("if-none-match".to_owned(), tag));
    let date = || text_of(headers, header::LAST_MODIFIED).map(|date| ("if-modified-since".to_owned(), date));
    tag.or_else(date).into_iter().collect()
}
