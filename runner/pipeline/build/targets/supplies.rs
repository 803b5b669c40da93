//! Checks dynamic sources and makes plans of them; nothing is fetched or read from a pipe.

use std::collections::BTreeMap;
use std::hash::Hasher as _;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Bytes;
use twox_hash::XxHash3_64;
use url::Url;

use crate::config::{ByteSize, Code, Diagnostic, Diagnostics, Hidden, Located, Place, read_input};
use crate::fetch::{Request, RequestError, RequestSpec, TlsOptions};
use crate::pipeline::Built;
use crate::pipeline::build::Site;
use crate::pipeline::config::PipelineText;
use crate::pipeline::supply::{DocumentPlan, ListingPlan, OnlyNew, SupplyKind, SupplyPlan};
use crate::source::{
    FirstText, HttpSdText, ListingShape, ListingText, Locator, SourceText, SourceTlsText, StdinText,
    document_url, is_label_name,
};

/// The pace of a source: a second is as fast as anything that lists things changes.
const EVERY: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(366 * 24);
const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_hours(1);
const MAX_SIZE: RangeInclusive<ByteSize> = ByteSize(1 << 10)..=ByteSize(64 << 20);
const MAX_PAGES: RangeInclusive<u64> = 1..=1_000;
/// The most labels of one target.
const MAX_LABELS: usize = 64;
/// The largest file of certificate authorities: the usual bundle has 220 KiB.
const LARGEST_CA_FILE: u64 = 16 << 20;

/// The plans of a pipeline's dynamic sources, none where one of them is wrong.
pub(super) fn plan(
    text: &PipelineText,
    site: Site<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<Vec<Arc<SupplyPlan>>> {
    let mut plans: Vec<Arc<SupplyPlan>> = Vec::new();
    let mut stores: BTreeMap<String, Place> = BTreeMap::new();
    let mut whole = true;
    for (source, located) in (0..).zip(&text.sources) {
        let place = site.document.hidden_place_or_file(located.span.as_ref());
        let before = diagnostics.count(crate::config::Level::Error);
        let mut checker = Checker { site, diagnostics };
        let kind = match &located.value {
            SourceText::List(_) | SourceText::File(_) | SourceText::FileSd(_) => continue,
            SourceText::HttpSd(text) => checker.groups(text),
            SourceText::Listing(text) => checker.listing(text, &place, &mut stores),
            SourceText::Stdin(text) => Some((checker.stdin(text, &place), Vec::new())),
        };
        match kind {
            Some((kind, secrets)) if diagnostics.count(crate::config::Level::Error) == before => {
                let identity = identity(source, &format!("{:?}", located.value), &secrets);
                plans.push(Arc::new(SupplyPlan { source, identity, place, kind }));
            }
            _ => whole = false,
        }
    }
    whole.then_some(plans)
}

/// Tells where more than one source reads the standard input, which only one of them would get. The first keeps it;
/// pipelines that would share it are taken out.
pub(in crate::pipeline::build) fn one_stdin<B: AsRef<Built>>(
    built: &mut Vec<B>,
    diagnostics: &mut Diagnostics,
) {
    let mut first: Option<Place> = None;
    built.retain(|pipeline| {
        let mut keep = true;
        for plan in pipeline.as_ref().supplies.iter().filter(|plan| plan.is_stdin()) {
            match &first {
                None => first = Some(plan.place.clone()),
                Some(first) => {
                    keep = false;
                    let message = "two sources read the standard input, and each line comes once";
                    diagnostics.add(
                        Diagnostic::error(Code::Conflict, plan.place.clone(), message)
                            .also("the other is here", first.clone())
                            .hint("leave one of type \"stdin\""),
                    );
                }
            }
        }
        keep
    });
}

fn identity(source: u32, text: &str, secrets: &[u8]) -> u64 {
    let mut hasher = XxHash3_64::with_seed(u64::from(source));
    hasher.write(text.as_bytes());
    hasher.write(&[0]);
    hasher.write(secrets);
    hasher.finish()
}

/// What the plan of a document is made from.
struct DocumentText<'t> {
    url: &'t Located<String>,
    every: &'t Located<Duration>,
    timeout: &'t Located<Duration>,
    headers: &'t BTreeMap<String, Located<Hidden>>,
    tls: &'t SourceTlsText,
    max_size: &'t Located<ByteSize>,
    /// Headers that are sent where the user has none of the name.
    defaults: Vec<(&'static str, String)>,
}

/// A plan, and the secrets that it is made from.
type Planned<T> = Option<(T, Vec<u8>)>;

struct Checker<'a> {
    site: Site<'a>,
    diagnostics: &'a mut Diagnostics,
}

impl Checker<'_> {
    fn groups(&mut self, text: &HttpSdText) -> Planned<SupplyKind> {
        let HttpSdText { url, every, timeout, headers, tls, max_size } = text;
        let seconds = every.value.as_secs().max(1).to_string();
        let defaults = vec![
            ("accept", "application/json".to_owned()),
            ("x-prometheus-refresh-interval-seconds", seconds),
        ];
        let document = DocumentText { url, every, timeout, headers, tls, max_size, defaults };
        let (plan, secrets) = self.document(&document)?;
        Some((SupplyKind::Groups(Box::new(plan)), secrets))
    }

    fn listing(
        &mut self,
        text: &ListingText,
        source: &Place,
        stores: &mut BTreeMap<String, Place>,
    ) -> Planned<SupplyKind> {
        let ListingText { url, every, timeout, headers, tls, max_size, .. } = text;
        let accept = "application/json, application/feed+json, application/rss+xml, application/atom+xml, \
                      application/xml;q=0.9, text/xml;q=0.9, */*;q=0.5";
        let defaults = vec![("accept", accept.to_owned())];
        let document = DocumentText { url, every, timeout, headers, tls, max_size, defaults };
        let planned = self.document(&document);
        let shape = self.shape(text);
        self.check_pages(text);
        let only_new = self.only_new(text, source, stores);
        let (document, secrets) = planned?;
        let plan = ListingPlan {
            document,
            shape: Arc::new(shape),
            page_param: text.page_param.as_ref().map(|name| name.value.clone()),
            max_pages: text.max_pages.value,
            only_new,
        };
        Some((SupplyKind::Listing(Box::new(plan)), secrets))
    }

    fn stdin(&mut self, text: &StdinText, place: &Place) -> SupplyKind {
        self.check_labels(text.labels.keys().map(|name| (name, place.clone())));
        let labels = text.labels.clone().into_iter().collect();
        SupplyKind::Stdin { labels }
    }

    fn document(&mut self, text: &DocumentText<'_>) -> Planned<DocumentPlan> {
        self.check(text.every, &EVERY, "a source is looked at every 1s to every 366d");
        self.check(text.timeout, &TIMEOUT, "a time-out is at least 10ms and at most 1h");
        self.check(text.max_size, &MAX_SIZE, "a document has at least 1KiB and at most 64MiB");
        let url = self.url(text.url);
        let ca_pem = self.authorities(text.tls);
        let mut headers: Vec<(String, String)> = text
            .headers
            .iter()
            .map(|(name, value)| (name.clone(), value.value.expose().to_owned()))
            .collect();
        let mut secrets = format!("{headers:?}").into_bytes();
        secrets.extend_from_slice(ca_pem.as_deref().unwrap_or_default());
        for (name, value) in &text.defaults {
            if !headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)) {
                headers.push(((*name).to_owned(), value.clone()));
            }
        }
        let request = RequestSpec {
            headers,
            timeout: text.timeout.value,
            body_limit: text.max_size.value.0.max(1),
            fail_if_body_over: Some(text.max_size.value.0),
            tls: TlsOptions { ca_pem, ..TlsOptions::default() },
            ..RequestSpec::default()
        };
        if let Err(problems) = Request::build(request.clone()) {
            for problem in problems {
                let place = self.place_of(&problem, text);
                self.add(Code::RequestUnusable, place, problem.to_string(), None);
            }
        }
        Some((
            DocumentPlan {
                url: url?,
                every: text.every.value,
                request,
                secrets: self.site.document.secrets(),
            },
            secrets,
        ))
    }

    fn url(&mut self, text: &Located<String>) -> Option<Url> {
        match document_url(&text.value) {
            Ok(url) => Some(url),
            Err((what, hint)) => {
                let place = text.span.as_ref().map_or_else(
                    || Place::file(self.site.document.path()),
                    |span| self.site.document.url_place(span.clone()),
                );
                self.add(Code::BadValue, place, what, hint.map(str::to_owned));
                None
            }
        }
    }

    /// The certificate authorities of the file's own. None where it names none, or they cannot be read, which is
    /// told.
    fn authorities(&mut self, tls: &SourceTlsText) -> Option<Bytes> {
        let path = tls.ca_file.as_ref()?;
        let file = self.site.base.join(&path.value);
        self.site.inputs.note(&file);
        match read_input(&file, LARGEST_CA_FILE) {
            Ok(bytes) => Some(bytes.into()),
            Err(reason) => {
                let what = format!("the file \"{}\" cannot be read: {reason}", file.display());
                let hint = "the path is relative to the pipeline file".to_owned();
                self.add(Code::Unreadable, path.place(self.site.document), what, Some(hint));
                None
            }
        }
    }

    fn shape(&mut self, text: &ListingText) -> ListingShape {
        let labels: Vec<_> =
            text.item.labels.iter().map(|(name, at)| (name, at.place(self.site.document))).collect();
        self.check_labels(labels.into_iter());
        let labels = text.item.labels.iter();
        let labels = labels.filter_map(|(name, at)| Some((name.clone(), self.locator(Some(at))?))).collect();
        ListingShape {
            items: self.locator(text.items.as_ref()),
            url: self.locator(text.item.url.as_ref()),
            name: self.locator(text.item.name.as_ref()),
            id: self.locator(text.item.id.as_ref()),
            labels,
            next: self.locator(text.next.as_ref()),
        }
    }

    fn locator(&mut self, text: Option<&Located<String>>) -> Option<Locator> {
        let text = text?;
        match Locator::parse(&text.value) {
            Ok(locator) => Some(locator),
            Err(why) => {
                let is_word = text.value.starts_with(|c: char| c.is_alphanumeric() || c == '_');
                let hint = is_word.then(|| format!("did you mean \"/{}\"?", text.value.replace('.', "/")));
                self.add(Code::BadValue, text.place(self.site.document), why, hint);
                None
            }
        }
    }

    fn check_pages(&mut self, text: &ListingText) {
        self.check(&text.max_pages, &MAX_PAGES, "at least 1 and at most 1000 pages are read");
        if let (Some(parameter), None) = (&text.page_param, &text.next) {
            let hint = "say with \"next\" where a page has the value for the next one".to_owned();
            let place = parameter.place(self.site.document);
            self.add(Code::MissingKey, place, "\"page_param\" needs \"next\"".to_owned(), Some(hint));
        }
        if let (Some(next), 1) = (&text.next, text.max_pages.value) {
            let message = "\"next\" has no use where one page is read";
            self.diagnostics.add(
                Diagnostic::warning(Code::Suspicious, next.place(self.site.document), message)
                    .hint("say with \"max_pages\" how many are read"),
            );
        }
    }

    fn only_new(
        &mut self,
        text: &ListingText,
        source: &Place,
        stores: &mut BTreeMap<String, Place>,
    ) -> Option<OnlyNew> {
        if !text.only_new.value {
            let keys = [
                ("keep_for", text.keep_for.as_ref().map(|value| value.place(self.site.document))),
                ("first", text.first.as_ref().map(|value| value.place(self.site.document))),
            ];
            for (key, place) in keys {
                if let Some(place) = place {
                    let message = format!("\"{key}\" is about new items");
                    self.add(Code::Conflict, place, message, Some("set only_new = true".to_owned()));
                }
            }
            return None;
        }
        if let Some(keep_for) = &text.keep_for {
            self.check(keep_for, &EVERY, "new items are kept for at least 1s and at most 366d");
        }
        let store = store_name(text);
        if let Some(first) = stores.insert(store.clone(), source.clone()) {
            let message = "two listings of new items are the same, and would take them from each other";
            self.diagnostics.add(
                Diagnostic::error(Code::Conflict, source.clone(), message)
                    .also("the other is here", first)
                    .hint("remove one"),
            );
        }
        Some(OnlyNew {
            keep_for: text.keep_for.as_ref().map(|length| length.value),
            skip_first: text.first.as_ref().is_some_and(|first| first.value == FirstText::Skip),
            store,
        })
    }

    fn check_labels<'l>(&mut self, labels: impl ExactSizeIterator<Item = (&'l String, Place)>) {
        let count = labels.len();
        for (at, (name, place)) in labels.enumerate() {
            if at == 0 && count > MAX_LABELS {
                self.add(
                    Code::BadValue,
                    place.clone(),
                    format!("a target has at most {MAX_LABELS} labels"),
                    None,
                );
            }
            if !is_label_name(name) {
                let hint = "use letters, digits and _, and do not begin with a digit".to_owned();
                self.add(Code::BadValue, place, format!("\"{name}\" is not a name of a label"), Some(hint));
            }
        }
    }

    fn check<T: PartialOrd>(&mut self, value: &Located<T>, range: &RangeInclusive<T>, message: &str) {
        if !range.contains(&value.value) {
            self.add(Code::BadValue, value.place(self.site.document), message.to_owned(), None);
        }
    }

    fn place_of(&self, problem: &RequestError, text: &DocumentText<'_>) -> Place {
        let document = self.site.document;
        let span = match problem {
            RequestError::HeaderName { name }
            | RequestError::HeaderValue { name }
            | RequestError::HeaderForbidden { name }
            | RequestError::HeaderRepeated { name } => {
                text.headers.get(name).and_then(|value| value.span.clone())
            }
            RequestError::CaFile { .. } => text.tls.ca_file.as_ref().and_then(|path| path.span.clone()),
            RequestError::Method { .. }
            | RequestError::BodyLimit
            | RequestError::ResponseHeader { .. }
            | RequestError::ResponseHeaders
            | RequestError::CertFile { .. }
            | RequestError::KeyFile { .. }
            | RequestError::ServerName { .. }
            | RequestError::Resolve { .. }
            | RequestError::DnsServers
            | RequestError::ProxyUrl { .. }
            | RequestError::NoProxy { .. }
            | RequestError::TokenUrl { .. }
            | RequestError::SourceAddress
            | RequestError::RequestIdHeader { .. }
            | RequestError::CacheBuster { .. }
            | RequestError::Tls { .. } => text.url.span.clone(),
        };
        span.map_or_else(|| Place::file(document.path()), |span| document.hidden_place(span))
    }

    fn add(&mut self, code: Code, place: Place, message: String, hint: Option<String>) {
        let diagnostic = Diagnostic::error(code, place, message);
        self.diagnostics.add(match hint {
            Some(hint) => diagnostic.hint(hint),
            None => diagnostic,
        });
    }
}

/// The name of the file of what was seen: by what says which listing it is, and how its items are known again.
fn store_name(text: &ListingText) -> String {
    let mut hasher = XxHash3_64::with_seed(0);
    let id = text.item.id.as_ref().or(text.item.url.as_ref());
    for part in [Some(&text.url), text.items.as_ref(), id] {
        hasher.write(part.map_or("", |part| part.value.as_str()).as_bytes());
        hasher.write(&[0]);
    }
    format!("{:016x}", hasher.finish())
}
