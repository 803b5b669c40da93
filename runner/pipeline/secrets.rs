//! Secrets leave the program nowhere: a row, and all that is made of it, has none.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue};

use crate::config::SecretTexts;
use crate::model::{Exchange, ProbeResult, Target};

/// Masks what a row would show of secrets: a URL that is one, a response that repeats one or the token of the attempt. What checks say is
/// masked where they say it.
pub(super) fn mask_row(row: &mut ProbeResult, secrets: &SecretTexts) {
    if let Some(token) = row.exchange.sent_token.clone() {
        let token = SecretTexts::new([token.expose()]);
        if shows(&row.exchange, &token) {
            mask_exchange(Arc::make_mut(&mut row.exchange), &token);
        }
    }
    if secrets.is_empty() {
        return;
    }
    if let Some(target) = masked_target(&row.target, secrets) {
        row.target = Arc::new(target);
    }
    if shows(&row.exchange, secrets) {
        mask_exchange(Arc::make_mut(&mut row.exchange), secrets);
    }
}

/// The target without secrets; none where it has none.
fn masked_target(target: &Target, secrets: &SecretTexts) -> Option<Target> {
    let masked = |text: &Arc<str>| -> Arc<str> {
        match secrets.mask(text) {
            std::borrow::Cow::Borrowed(_) => Arc::clone(text),
            std::borrow::Cow::Owned(masked) => masked.into(),
        }
    };
    let new = Target {
        name: masked(&target.name),
        url: masked(&target.url),
        labels: target.labels.iter().map(|(name, value)| (Arc::clone(name), masked(value))).collect(),
        every: target.every,
    };
    (new != *target).then_some(new)
}

fn shows(exchange: &Exchange, secrets: &SecretTexts) -> bool {
    let failure = exchange.failure.iter().map(|failure| failure.message.as_str());
    let urls = exchange.final_url.iter().chain(exchange.hops.iter().map(|hop| &hop.url)).map(String::as_str);
    let is_secret = |text: &str| matches!(secrets.mask(text), std::borrow::Cow::Owned(_));
    let headers = exchange.head.iter().flat_map(|head| head.headers.values());
    failure.chain(urls).any(is_secret)
        || headers.into_iter().any(|value| is_secret(&String::from_utf8_lossy(value.as_bytes())))
}

fn mask_exchange(exchange: &mut Exchange, secrets: &SecretTexts) {
    if let Some(failure) = &mut exchange.failure {
        secrets.mask_in(&mut failure.message);
    }
    for url in exchange.final_url.iter_mut().chain(exchange.hops.iter_mut().map(|hop| &mut hop.url)) {
        secrets.mask_in(url);
    }
    if let Some(head) = &mut exchange.head {
        mask_headers(&mut head.headers, secrets);
    }
}

fn mask_headers(headers: &mut HeaderMap, secrets: &SecretTexts) {
    for value in headers.values_mut() {
        let mut text = String::from_utf8_lossy(value.as_bytes()).into_owned();
        if secrets.mask_in(&mut text)
            && let Ok(masked) = HeaderValue::from_bytes(text.as_bytes())
        {
            *value = masked;
        }
    }
}
