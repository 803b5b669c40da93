//! Where a bucket is: `s3://bucket/prefix` and its kin, as a person writes them.

use std::fmt;
use std::path::PathBuf;

use object_store::path::Path as Key;

use crate::model::steers_a_terminal;

/// Bytes of a prefix at most: a key has up to 1,024, and a file's place below the prefix up to 300.
const LONGEST_PREFIX: usize = 512;
/// Bytes of the local folder's name at most.
const LONGEST_NAME: usize = 200;

/// Who keeps the bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Provider {
    /// Amazon S3, and what speaks like it: `MinIO`, Ceph, Cloudflare R2.
    S3,
    /// Google Cloud Storage.
    Google,
    /// Azure Blob Storage.
    Azure,
}

impl Provider {
    /// The begin of its environment variables' names.
    pub(super) fn variables(self) -> &'static str {
        match self {
            Self::S3 => "AWS_",
            Self::Google => "GOOGLE_",
            Self::Azure => "AZURE_",
        }
    }

    fn scheme(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Google => "gs",
            Self::Azure => "az",
        }
    }
}

/// A bucket, and where in it files go.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BucketAddress {
    /// Who keeps it.
    pub provider: Provider,
    /// Its name; with Azure, the container's.
    pub bucket: String,
    /// The storage account, with Azure, where the address names it.
    pub account: Option<String>,
    /// What every key begins with, without slashes around it; may be empty.
    pub prefix: String,
}

impl BucketAddress {
    /// Reads an address. The reason of a refusal quotes nothing of it, since people write keys into such texts.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (scheme, rest) = text.split_once("://").unwrap_or_default();
        let provider = match scheme {
            "s3" | "s3a" => Provider::S3,
            "gs" => Provider::Google,
            "az" | "azure" | "adl" | "abfs" | "abfss" => Provider::Azure,
            _ => return Err("results go to a folder, or to a bucket: \"s3://…\", \"gs://…\" or \"az://…\""),
        };
        if rest.contains(['?', '#']) {
            return Err("a bucket's address has no parameters; those of the connection stand in `options`");
        }
        let (host, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let (bucket, account) = match host.rsplit_once('@') {
            None => (host, None),
            Some((container, host)) if provider == Provider::Azure => (container, Some(account_of(host)?)),
            Some(_) => {
                return Err(
                    "a bucket's address holds no keys; those stand in the environment or in `options`",
                );
            }
        };
        if bucket.is_empty() {
            return Err("the bucket's name is missing: \"s3://bucket/prefix\"");
        }
        if !is_bucket(bucket) {
            return Err(
                "a bucket's name has 3 to 63 of a-z, 0-9, \".\", \"_\" and \"-\", with a letter or a \
                        digit at both ends",
            );
        }
        let prefix = prefix.trim_matches('/').to_owned();
        check_prefix(&prefix)?;
        Ok(Self { provider, bucket: bucket.to_owned(), account, prefix })
    }

    /// The folder on this machine where its files are made, where the pipeline file names none.
    pub fn local(&self) -> PathBuf {
        let mut name = self.provider.scheme().to_owned();
        for part in self.account.iter().map(String::as_str).chain([self.bucket.as_str(), &self.prefix]) {
            if !part.is_empty() {
                name.push('-');
                let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
                name.extend(part.chars().map(|c| {
                    if c == '/' {
                        '-'
                    } else if plain(c) {
                        c
                    } else {
                        '_'
                    }
                }));
            }
        }
        name.truncate(LONGEST_NAME);
        name.into()
    }

    /// The key of a file. None if that is none, which an address that was read prevents.
    pub(super) fn key(&self, place: &str) -> Option<Key> {
        let key = if self.prefix.is_empty() { place.to_owned() } else { format!("{}/{place}", self.prefix) };
        Key::parse(key).ok()
    }
}

impl fmt::Display for BucketAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.account {
            Some(account) => write!(f, "abfss://{}@{account}.dfs.core.windows.net", self.bucket)?,
            None => write!(f, "{}://{}", self.provider.scheme(), self.bucket)?,
        }
        if self.prefix.is_empty() { Ok(()) } else { write!(f, "/{}", self.prefix) }
    }
}

/// The account in `<account>.dfs.core.windows.net`.
fn account_of(host: &str) -> Result<String, &'static str> {
    let account = ["dfs", "blob"]
        .iter()
        .find_map(|service| host.strip_suffix(".core.windows.net")?.strip_suffix(service)?.strip_suffix('.'));
    let is_name = |name: &&str| {
        (3..=24).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    account
        .filter(is_name)
        .map(str::to_owned)
        .ok_or("with an account, the address is \"abfss://container@account.dfs.core.windows.net/prefix\"")
}

fn is_bucket(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    (3..=63).contains(&name.len())
        && name.bytes().all(|byte| plain(byte) || b"._-".contains(&byte))
        && name.bytes().next().is_some_and(plain)
        && name.bytes().next_back().is_some_and(plain)
}

fn check_prefix(prefix: &str) -> Result<(), &'static str> {
    if prefix.len() > LONGEST_PREFIX {
        return Err("a prefix has at most 512 bytes");
    }
    let is_hostile = |c: char| c.is_whitespace() || steers_a_terminal(c) || c == '\\';
    let has_odd_part = !prefix.is_empty() && prefix.split('/').any(|part| matches!(part, "" | "." | ".."));
    if has_odd_part || prefix.contains(is_hostile) || Key::parse(prefix).is_err() {
        return Err("a prefix is a plain path: parts with one slash between them, no \"..\", no spaces");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn addresses_of_the_three_providers() {
        for (text, provider, bucket, prefix, shown, local) in [
            ("s3://acme", Provider::S3, "acme", "", "s3://acme", "s3-acme"),
            ("s3a://acme/", Provider::S3, "acme", "", "s3://acme", "s3-acme"),
            ("s3://acme/a/b/", Provider::S3, "acme", "a/b", "s3://acme/a/b", "s3-acme-a-b"),
            ("gs://acme_x/é", Provider::Google, "acme_x", "é", "gs://acme_x/é", "gs-acme_x-_"),
            ("az://probes/x", Provider::Azure, "probes", "x", "az://probes/x", "az-probes-x"),
            ("abfs://probes", Provider::Azure, "probes", "", "az://probes", "az-probes"),
        ] {
            let address = BucketAddress::parse(text).unwrap();
            assert_eq!((address.provider, &*address.bucket, &*address.prefix), (provider, bucket, prefix));
            assert_eq!((address.to_string().as_str(), address.local()), (shown, local.into()));
            assert_eq!(BucketAddress::parse(&address.to_string()), Ok(address));
        }
        let with_account = BucketAddress::parse("abfss://probes@acme1.dfs.core.windows.net/x").unwrap();
        assert_eq!(with_account.account.as_deref(), Some("acme1"));
        assert_eq!(with_account.local(), Path::new("az-acme1-probes-x"));
        assert_eq!(BucketAddress::parse(&with_account.to_string()), Ok(with_account));
    }

    #[test]
    fn what_is_no_address_is_refused_without_a_word_of_it() {
        for text in [
            "http://acme/x",
            "file:///x",
            "s3://",
            "s3:///x",
            "s3://ab",
            "s3://Acme",
            "s3://acme-/x",
            "s3://hunter2:hunter2@acme/x",
            "s3://acme/x?secret=hunter2",
            "s3://acme/x#y",
            "s3://acme/a//b",
            "s3://acme/../b",
            "s3://acme/a b",
            "s3://acme/a\u{1b}b",
            "abfss://probes@acme.example/x",
            &format!("s3://acme/{}", "x".repeat(513)),
        ] {
            let refused = BucketAddress::parse(text).expect_err(text);
            assert!(!refused.contains("hunter2"), "{refused}");
        }
    }

    #[test]
    fn a_key_is_the_place_below_the_prefix() {
        let place = "probes/date=2026-09-01/probes-20260901T05Z-main-x-000042.parquet";
        for (text, begin) in [("s3://acme", ""), ("s3://acme/a/b", "a/b/")] {
            let key = BucketAddress::parse(text).unwrap().key(place).unwrap();
            assert_eq!(key.as_ref(), format!("{begin}{place}"));
        }
    }
}
