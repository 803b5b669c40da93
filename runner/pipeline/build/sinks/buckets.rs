//! Plans a Parquet sink with a bucket.

use std::path::PathBuf;
use std::sync::Arc;

use super::{Site, plain_path, unusable};
use crate::config::{Code, Diagnostic, Diagnostics, Hidden, Level, Located, Place, did_you_mean};
use crate::sink::{BucketAddress, BucketSettings, BucketSpec, ParquetText};

/// Options that people mean; there are more.
const USUAL: [&str; 8] = [
    "region",
    "endpoint_url",
    "allow_http",
    "access_key_id",
    "secret_access_key",
    "session_token",
    "service_account",
    "storage_account_name",
];

/// A folder on this machine, and the bucket that its files are copied to. None where something is wrong, which has
/// been told.
#[allow(clippy::type_complexity, reason = "a pair that is taken apart at once")]
pub(super) fn plan(
    text: &ParquetText,
    site: Site<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<(PathBuf, Option<Arc<BucketSpec>>)> {
    let errors = diagnostics.count(Level::Error);
    let place = match &text.path.span {
        // Whoever wrote keys into the address shall not read them in a message.
        Some(span) => site.document.hidden_place(span.clone()),
        None => Place::file(site.document.path()),
    };
    let address = match BucketAddress::parse(&text.path.value) {
        Ok(address) => address,
        Err(reason) => {
            unusable(diagnostics, place, reason);
            return None;
        }
    };
    let path = match &text.local {
        None => address.local(),
        Some(local) => plain_path(&local.value).unwrap_or_else(|reason| {
            unusable(diagnostics, local.place(site.document), reason);
            PathBuf::new()
        }),
    };
    let settings = settings(text, &address, site, diagnostics);
    let spec = BucketSpec { address, settings, delete_local: text.delete_local.value };
    if diagnostics.count(Level::Error) > errors {
        return None;
    }
    if let Err(reason) = spec.check() {
        unusable(diagnostics, place, &format!("the bucket cannot be used: {reason}"));
        return None;
    }
    Some((path, Some(Arc::new(spec))))
}

/// What the environment says, and over it the options of the file. An empty one says nothing.
fn settings(
    text: &ParquetText,
    address: &BucketAddress,
    site: Site<'_>,
    diagnostics: &mut Diagnostics,
) -> BucketSettings {
    let variables = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let mut settings = BucketSettings::of_environment(address.provider, variables);
    for (name, value) in &text.options {
        let given = value.value.expose();
        if settings.set(address.provider, name, given) {
            continue;
        }
        let message = format!("there is no option \"{name}\" for this kind of bucket");
        let hint = match did_you_mean(name, USUAL) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => format!("usual ones are: {}", USUAL.join(", ")),
        };
        let place = option_place(value, site);
        diagnostics.add(Diagnostic::error(Code::UnknownKey, place, message).hint(hint));
    }
    settings
}

/// Options that only a bucket has are no use to a folder.
pub(super) fn refuse_options(text: &ParquetText, site: Site<'_>, diagnostics: &mut Diagnostics) {
    let local = text.local.as_ref().map(|local| ("local", local.place(site.document)));
    let delete = text.delete_local.value.then(|| ("delete_local", text.delete_local.place(site.document)));
    let options = text.options.values().next().map(|value| ("options", option_place(value, site)));
    for (key, place) in local.into_iter().chain(delete).chain(options) {
        let message = format!("\"{key}\" is for a bucket, and path is a folder of this machine");
        let hint = "write path = \"s3://bucket/prefix\", or leave it out";
        diagnostics.add(Diagnostic::error(Code::Conflict, place, message).hint(hint));
    }
}

fn option_place(value: &Located<Hidden>, site: Site<'_>) -> Place {
    match &value.span {
        Some(span) => site.document.hidden_place(span.clone()),
        None => Place::file(site.document.path()),
    }
}
