//! Mixed content: what a page loads without TLS although it came with it.

use crate::selector::Element;
use crate::watch::quoted;

/// The subresources that are loaded from `http://`.
#[derive(Debug, Default)]
pub(crate) struct Mixed {
    pub(crate) count: u64,
    /// The first: `<img src="http://…">`.
    pub(crate) first: Option<String>,
}

/// Values of `rel` with which a link loads something.
const LOADING: [&[u8]; 7] =
    [b"stylesheet", b"icon", b"preload", b"modulepreload", b"prefetch", b"manifest", b"apple-touch-icon"];

impl Mixed {
    /// Counts what an element loads. A link to another page is none, nor is what a style or a script
    /// loads.
    pub(crate) fn look(&mut self, element: Element<'_>) {
        let loading: &[&str] = match element.name {
            b"img" | b"source" => &["src", "srcset"],
            b"video" => &["src", "poster"],
            b"script" | b"iframe" | b"audio" | b"embed" | b"track" | b"frame" | b"input" => &["src"],
            b"object" => &["data"],
            b"form" => &["action"],
            // Where it is http://, every relative address is.
            b"base" => &["href"],
            b"link" => {
                let rel = element.attribute(b"rel").unwrap_or_default();
                let is_loading = |word: &[u8]| LOADING.iter().any(|rel| rel.eq_ignore_ascii_case(word));
                if rel.split(u8::is_ascii_whitespace).any(is_loading) { &["href"] } else { &[] }
            }
            _ => &[],
        };
        for &name in loading {
            let Some(value) = element.attribute(name.as_bytes()) else { continue };
            // The candidates of a srcset, each an address and perhaps a width.
            let mut parts: Box<dyn Iterator<Item = &[u8]>> = match name {
                "srcset" => Box::new(value.split(u8::is_ascii_whitespace)),
                _ => Box::new(std::iter::once(value)),
            };
            if parts.any(is_plain) {
                self.count += 1;
                let tag = String::from_utf8_lossy(element.name);
                self.first.get_or_insert_with(|| format!("<{tag} {name}={}>", quoted(value)));
            }
        }
    }
}

/// Whether an address is `http://`, as browsers read it: white space around it does not count.
fn is_plain(address: &[u8]) -> bool {
    address.trim_ascii().get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"http://"))
}
