//! The tables of a pipeline file for sources whose targets come and go while the pipeline runs.

use std::collections::BTreeMap;

use crate::config::{ByteSize, Duration, Hidden, Located, config_enum, config_table};

config_table! {
    /// Targets fetched over HTTP in the format of Prometheus' HTTP service discovery, which is that of `file_sd`,
    /// read by the same rules. The answer has to be a `200` with a JSON array. Targets that vanish from it are
    /// probed no more, new ones begin, the others keep their time; while it cannot be had, the last good one
    /// stands. A group or a target that is wrong is left out, and told of once.
    pub struct HttpSdText, "[[sources]] type = \"http_sd\"" {
        /// Where it is fetched.
        url: Located<String>,
        /// How often; at least 1 s, at most 366 days.
        every: Located<Duration> = r#""60s""#,
        /// How long one fetch may take; at least 10 ms, at most 1 h.
        timeout: Located<Duration> = r#""10s""#,
        /// Headers to send. Values are never shown in messages or logs.
        headers: BTreeMap<String, Located<Hidden>>,
        /// How TLS is done.
        tls: SourceTlsText,
        /// A longer document is refused; at least 1 KiB, at most 64 MiB.
        max_size: Located<ByteSize> = r#""64MiB""#,
    }
}

config_table! {
    /// How TLS is done when a document with targets is fetched.
    pub struct SourceTlsText, "[sources.tls]" {
        /// A PEM file with the certificate authorities to trust instead of the system's, relative to
        /// the pipeline file.
        ca_file: Option<Located<String>>,
    }
}

config_table! {
    /// Targets taken from a document that is fetched over HTTP: JSON, RSS 2.0, RSS 1.0 or Atom.
    ///
    /// Where something stands is said by a JSON pointer (`"/data/url"`, RFC 6901) or a `JSONPath` (`"$.data.url"`,
    /// RFC 9535, of which the first match counts). An item of a feed is read as an object of its elements
    /// (`"/title"`, `"/dc:creator"`) and their attributes (`"/enclosure@url"`).
    ///
    /// By default every item is a target for as long as the listing has it. With `only_new`, each item is probed
    /// once, when it is first seen, or for `keep_for`. What was seen is remembered in
    /// `state/<runner>/seen/<pipeline>/`, up to 200,000 items of each listing, each until 90 days after the listing had
    /// it last. An item counts as seen once its row is with the sinks: a kill between the two
    /// may probe it twice, and never loses it. A listing with another `url`, `items` or `item.id` begins anew.
    ///
    /// A document that cannot be had, or be read as a whole, changes nothing: the last good one stands. One
    /// without items is no error. Items that are wrong are left out, and told of once. A document has at most
    /// 1,000,000 items.
    pub struct ListingText, "[[sources]] type = \"listing\"" {
        /// Where the document is fetched.
        url: Located<String>,
        /// How often; at least 1 s, at most 366 days. An answer that has not changed since (`ETag`, `304`) is not
        /// sent again.
        every: Located<Duration> = r#""60s""#,
        /// How long the fetch of one page may take; at least 10 ms, at most 1 h.
        timeout: Located<Duration> = r#""10s""#,
        /// Headers to send. Values are never shown in messages or logs. They are not sent to pages of another
        /// origin, which are not fetched.
        headers: BTreeMap<String, Located<Hidden>>,
        /// How TLS is done.
        tls: SourceTlsText,
        /// A longer document is refused; at least 1 KiB, at most 64 MiB.
        max_size: Located<ByteSize> = r#""16MiB""#,
        /// Where the items stand in a JSON document: a pointer to an array, or a path to each item. The document
        /// itself where it is left out. Feeds have their items where they are.
        items: Option<Located<String>>,
        /// What is taken of each item.
        item: ItemText,
        /// Where a page says what the next one is: a URL, or the value of `page_param`. Without it, the next
        /// page is that of the header `Link: <...>; rel="next"` or of a feed's `<link rel="next">`.
        next: Option<Located<String>>,
        /// The parameter of `url` that `next` is the value of, for example `"after"`.
        page_param: Option<Located<String>>,
        /// How many pages are read each time; at most 1,000.
        max_pages: Located<u64> = "1",
        /// Whether each item is probed only once, when it is first seen.
        only_new: Located<bool> = "false",
        /// With `only_new`: an item is probed on the pipeline's schedule for so long, instead of once; at least 1 s,
        /// at most 366 days.
        keep_for: Option<Located<Duration>>,
        /// With `only_new`: what happens to the items of the very first document, when nothing is remembered.
        first: Option<Located<FirstText>>,
    }
}

config_table! {
    /// What is taken of each item of a listing.
    pub struct ItemText, "[sources.item]" {
        /// Where the URL stands; a relative one is completed by the document's. By default `"/url"`, in feeds `"/link"`;
        /// an item that is a text itself is its URL.
        url: Option<Located<String>>,
        /// Where the name stands; the URL is the name where there is none. By default none, in feeds `"/title"`. It is
        /// cut after 256 characters; where two items have one name, the second is named by its URL.
        name: Option<Located<String>>,
        /// Where the text stands by which an item is known again. By default the URL is, in feeds `"/guid"` or
        /// `"/id"`.
        id: Option<Located<String>>,
        /// Where the values of labels stand, for example `{ sub = "/data/subreddit" }`. A label is left out of an item
        /// that lacks it.
        labels: BTreeMap<String, Located<String>>,
    }
}

config_enum! {
    /// What happens to the items of the very first document.
    pub enum FirstText {
        /// They are new as any other: results come at once. The default.
        Probe = "probe",
        /// They count as seen: only what comes later is probed.
        Skip = "skip",
    }
}

config_table! {
    /// Targets that come down a pipe, each probed once: `tail -f urls | probity run pipelines/`. A line is a URL
    /// or a JSON object such as `{ "url": "https://...", "name": "...", "labels": { ... } }`; empty lines and those
    /// that begin with `#` are passed over. A line that is wrong is told of, with its number, and left out.
    /// While probes are slower than the pipe, the pipe waits. At its end `run --once` ends as well. Only one
    /// source of all pipelines can be of this type.
    pub struct StdinText, "[[sources]] type = \"stdin\"" {
        /// Labels that every target gets; a line's own labels count more.
        labels: BTreeMap<String, String>,
    }
}
