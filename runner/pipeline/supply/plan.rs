//! Dynamic sources, checked, not started.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use crate::config::{Place, SecretTexts};
use crate::fetch::RequestSpec;
use crate::source::ListingShape;

/// A dynamic source, checked, not started. Its debug print shows no secrets.
pub struct SupplyPlan {
    /// Its number among the file's `[[sources]]`, from 0.
    pub source: u32,
    /// Equal for equal configurations, secrets and certificate authorities included; a hash that is
    /// compared within a process and never written down.
    pub identity: u64,
    /// Where it stands in the pipeline file.
    pub place: Place,
    pub(in crate::pipeline) kind: SupplyKind,
}

impl fmt::Debug for SupplyPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SupplyPlan")
            .field("source", &self.source)
            .field("place", &self.place.to_string())
            .finish_non_exhaustive()
    }
}

impl SupplyPlan {
    /// The source's `type`, as the pipeline file has it.
    pub fn source_type(&self) -> &'static str {
        match self.kind {
            SupplyKind::Groups(_) => "http_sd",
            SupplyKind::Listing(_) => "listing",
            SupplyKind::Stdin { .. } => "stdin",
        }
    }

    /// The document that it follows, and how often it is fetched; none where it follows none. The URL may
    /// hold secrets.
    pub fn document(&self) -> Option<(&Url, Duration)> {
        let document = match &self.kind {
            SupplyKind::Groups(document) => document,
            SupplyKind::Listing(listing) => &listing.document,
            SupplyKind::Stdin { .. } => return None,
        };
        Some((&document.url, document.every))
    }

    /// Whether it reads the standard input, of which there is one.
    pub fn is_stdin(&self) -> bool {
        matches!(self.kind, SupplyKind::Stdin { .. })
    }
}

/// What kind of source it is.
pub(in crate::pipeline) enum SupplyKind {
    /// Prometheus' groups over HTTP.
    Groups(Box<DocumentPlan>),
    /// Items of a document over HTTP.
    Listing(Box<ListingPlan>),
    /// Lines of a pipe.
    Stdin {
        /// Labels that every target gets.
        labels: Vec<(String, String)>,
    },
}

/// A document that is fetched again and again.
pub(in crate::pipeline) struct DocumentPlan {
    pub(in crate::pipeline) url: Url,
    pub(in crate::pipeline) every: Duration,
    /// How it is asked for, but for what depends on the answer before.
    pub(in crate::pipeline) request: RequestSpec,
    /// What no message may show.
    pub(in crate::pipeline) secrets: SecretTexts,
}

/// A listing.
pub(in crate::pipeline) struct ListingPlan {
    pub(in crate::pipeline) document: DocumentPlan,
    pub(in crate::pipeline) shape: Arc<ListingShape>,
    /// The parameter that says which page.
    pub(in crate::pipeline) page_param: Option<String>,
    pub(in crate::pipeline) max_pages: u64,
    pub(in crate::pipeline) only_new: Option<OnlyNew>,
}

/// Each item only when it is new.
pub(in crate::pipeline) struct OnlyNew {
    /// On the schedule for so long, instead of once.
    pub(in crate::pipeline) keep_for: Option<Duration>,
    /// The items of the very first document count as seen.
    pub(in crate::pipeline) skip_first: bool,
    /// The name of the file of what was seen: equal for equal listings, also after a restart.
    pub(in crate::pipeline) store: String,
}
