//! How a bucket is reached: what the environment says, as the providers' own tools read it, and over it what
//! the pipeline file says.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr as _;
use std::sync::Arc;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::client::HttpConnector;
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::{ClientConfigKey, ObjectStore, RetryConfig};

use super::address::{BucketAddress, Provider};
use super::http::Connector;
use crate::config::SecretTexts;

/// Settings of a connection, by the names of the environment's variables in lower case. Prints without values.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct BucketSettings {
    values: BTreeMap<String, String>,
}

impl fmt::Debug for BucketSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.values.keys()).finish()
    }
}

impl BucketSettings {
    /// What the environment says: the variables of the provider that mean something here.
    pub fn of_environment(provider: Provider, variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let known = |name: &String| name.starts_with(provider.variables());
        let values = variables
            .into_iter()
            .filter(|(name, value)| known(name) && !value.is_empty())
            .map(|(name, value)| (name.to_ascii_lowercase(), value))
            .filter(|(name, _)| is_option(provider, name))
            .collect();
        Self { values }
    }

    /// Sets an option over what the environment says. False if there is none of that name.
    pub fn set(&mut self, provider: Provider, name: &str, value: &str) -> bool {
        let name = name.to_ascii_lowercase();
        // A variable's name is its option's; without the provider's begin it is as well.
        let begin = provider.variables().to_ascii_lowercase();
        let whole = if name.starts_with(&begin) { name.clone() } else { format!("{begin}{name}") };
        let Some(known) = [whole, name].into_iter().find(|name| is_option(provider, name)) else {
            return false;
        };
        // The same option may stand in the environment under another name.
        // An empty one says nothing: a secret that may be absent has an empty default.
        if !value.is_empty() {
            self.values.retain(|other, _| !is_same(provider, other, &known));
            self.values.insert(known, value.to_owned());
        }
        true
    }

    /// What must not be told: every value but those that tell where a bucket is.
    pub(super) fn secrets(&self) -> SecretTexts {
        let is_open = |name: &str| {
            ["region", "endpoint", "allow_http", "account_name", "url", "style", "emulator"]
                .iter()
                .any(|part| name.contains(part))
        };
        SecretTexts::new(self.values.iter().filter(|(name, _)| !is_open(name)).map(|(_, value)| &**value))
    }

    /// The value of an option, by the name that the environment has for it.
    fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    fn may_be_plain(&self) -> bool {
        self.values.iter().any(|(name, value)| name.ends_with("allow_http") && is_yes(value))
    }
}

/// Whether a value switches something on.
pub(super) fn is_yes(value: &str) -> bool {
    ["1", "true", "yes", "on", "y"].contains(&value.to_ascii_lowercase().as_str())
}

fn is_option(provider: Provider, name: &str) -> bool {
    canonical(provider, name).is_some()
}

fn is_same(provider: Provider, a: &str, b: &str) -> bool {
    canonical(provider, a) == canonical(provider, b)
}

/// The one name of an option that has several. None for what would contradict the address, and for what belongs to
/// another HTTP client.
fn canonical(provider: Provider, name: &str) -> Option<String> {
    let (name, client) = match provider {
        Provider::S3 => match AmazonS3ConfigKey::from_str(name).ok()? {
            AmazonS3ConfigKey::Bucket => return None,
            AmazonS3ConfigKey::Client(client) => (client.as_ref().to_owned(), Some(client)),
            key => (key.as_ref().to_owned(), None),
        },
        Provider::Google => match GoogleConfigKey::from_str(name).ok()? {
            GoogleConfigKey::Bucket => return None,
            GoogleConfigKey::Client(client) => (client.as_ref().to_owned(), Some(client)),
            key => (key.as_ref().to_owned(), None),
        },
        Provider::Azure => match AzureConfigKey::from_str(name).ok()? {
            AzureConfigKey::ContainerName => return None,
            AzureConfigKey::Client(client) => (client.as_ref().to_owned(), Some(client)),
            key => (key.as_ref().to_owned(), None),
        },
    };
    client.is_none_or(|client| client == ClientConfigKey::AllowHttp).then_some(name)
}

/// A store for an address. Nothing is asked of it. Fails with a reason for people, without secrets, where the
/// settings do not fit together.
pub(super) fn open(
    address: &BucketAddress,
    settings: &BucketSettings,
    connector: Connector,
) -> Result<Arc<dyn ObjectStore>, String> {
    let plain = settings.values.iter().any(|(name, value)| {
        (name.contains("endpoint") || name.contains("url")) && value.starts_with("http://")
    });
    if plain && !settings.may_be_plain() {
        return Err(
            "the endpoint is reached without TLS, so that anybody on the way can read what is sent: \
                    say allow_http = \"true\" in `options` where that is meant, or use https://"
                .to_owned(),
        );
    }
    let opened = match address.provider {
        Provider::S3 => {
            let [id, secret] = ["aws_access_key_id", "aws_secret_access_key"].map(|name| settings.get(name));
            if id.is_some() != secret.is_some() {
                return Err(
                    "access_key_id and secret_access_key belong together, and one of them is missing"
                        .to_owned(),
                );
            }
            s3(address, settings, connector)
        }
        Provider::Google => google(address, settings, connector),
        Provider::Azure => {
            let has_account = ["azure_storage_account_name", "azure_account_name"]
                .iter()
                .any(|name| settings.get(name).is_some());
            let emulated =
                settings.values.iter().any(|(name, value)| name.contains("emulator") && is_yes(value));
            if address.account.is_none() && !has_account && !emulated {
                return Err("the storage account is missing: set AZURE_STORAGE_ACCOUNT_NAME, or write \
                            \"abfss://container@account.dfs.core.windows.net/prefix\""
                    .to_owned());
            }
            azure(address, settings, connector)
        }
    };
    opened.map_err(|error| {
        let mut reason = match error {
            object_store::Error::Generic { source, .. } => source.to_string(),
            other => other.to_string(),
        };
        settings.secrets().mask_in(&mut reason);
        reason
    })
}

/// One request at a time: whoever uploads tries again by a rule of its own.
fn no_retries() -> RetryConfig {
    RetryConfig { max_retries: 0, ..RetryConfig::default() }
}

fn s3(
    address: &BucketAddress,
    settings: &BucketSettings,
    connector: impl HttpConnector,
) -> object_store::Result<Arc<dyn ObjectStore>> {
    let mut builder = AmazonS3Builder::new().with_retry(no_retries()).with_http_connector(connector);
    for (name, value) in &settings.values {
        builder = builder.with_config(AmazonS3ConfigKey::from_str(name)?, value);
    }
    Ok(Arc::new(builder.with_bucket_name(&address.bucket).build()?))
}

fn google(
    address: &BucketAddress,
    settings: &BucketSettings,
    connector: impl HttpConnector,
) -> object_store::Result<Arc<dyn ObjectStore>> {
    let mut builder =
        GoogleCloudStorageBuilder::new().with_retry(no_retries()).with_http_connector(connector);
    for (name, value) in &settings.values {
        builder = builder.with_config(GoogleConfigKey::from_str(name)?, value);
    }
    Ok(Arc::new(builder.with_bucket_name(&address.bucket).build()?))
}

fn azure(
    address: &BucketAddress,
    settings: &BucketSettings,
    connector: impl HttpConnector,
) -> object_store::Result<Arc<dyn ObjectStore>> {
    let mut builder = MicrosoftAzureBuilder::new().with_retry(no_retries()).with_http_connector(connector);
    for (name, value) in &settings.values {
        builder = builder.with_config(AzureConfigKey::from_str(name)?, value);
    }
    if let Some(account) = &address.account {
        builder = builder.with_account(account);
    }
    Ok(Arc::new(builder.with_container_name(&address.bucket).build()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(provider: Provider, variables: &[(&str, &str)]) -> BucketSettings {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        BucketSettings::of_environment(provider, variables)
    }

    #[test]
    fn the_file_goes_over_the_environment_whatever_an_option_is_called() {
        let mut found = settings(
            Provider::S3,
            &[("AWS_ENDPOINT_URL", "https://one"), ("AWS_PROFILE", "x"), ("HOME", "/"), ("AWS_REGION", "")],
        );
        assert_eq!(format!("{found:?}"), "{\"aws_endpoint_url\"}");
        for name in ["endpoint", "AWS_ENDPOINT", "aws_endpoint_url", "endpoint_url"] {
            assert!(found.set(Provider::S3, name, "https://two"), "{name}");
            assert_eq!(found.values.values().collect::<Vec<_>>(), ["https://two"], "{name}");
        }
        for name in ["bucket", "aws_bucket", "proxy_url", "colour", ""] {
            assert!(!found.set(Provider::S3, name, "x"), "{name}");
        }
    }

    #[test]
    fn stores_of_the_three_providers_are_made_without_a_request() {
        for (address, variables) in [
            ("s3://acme/x", &[("AWS_REGION", "eu-central-1")][..]),
            ("gs://acme", &[("GOOGLE_SKIP_SIGNATURE", "true")]),
            ("az://probes", &[("AZURE_STORAGE_ACCOUNT_NAME", "acme")]),
            ("abfss://probes@acme.dfs.core.windows.net", &[]),
        ] {
            let address = BucketAddress::parse(address).unwrap();
            let settings = settings(address.provider, variables);
            assert!(open(&address, &settings, Connector::default()).is_ok(), "{address}");
        }
    }

    #[test]
    fn settings_that_do_not_fit_are_refused_without_secrets() {
        let canary = "hunter2-and-more";
        for (address, variables, part) in [
            ("s3://acme", &[("AWS_SECRET_ACCESS_KEY", canary)][..], "belong together"),
            ("s3://acme", &[("AWS_ENDPOINT_URL", "http://127.0.0.1:9")], "without TLS"),
            ("az://probes", &[("AZURE_STORAGE_ACCOUNT_KEY", canary)], "storage account is missing"),
            ("gs://acme", &[("GOOGLE_SERVICE_ACCOUNT_KEY", canary)], ""),
        ] {
            let address = BucketAddress::parse(address).unwrap();
            let settings = settings(address.provider, variables);
            let refused = open(&address, &settings, Connector::default()).map(drop).unwrap_err();
            assert!(refused.to_lowercase().contains(&part.to_lowercase()), "{refused}");
            assert!(!refused.contains(canary) && !format!("{settings:?}").contains(canary), "{refused}");
        }
    }
}
