//! The hostile plugins of `guests.toml`, each with what must become of it.

use serde::Deserialize;
use wit_component::StringEncoding;

use crate::core_module::with_module;
use crate::wat_guest::Guest;

/// One plugin of the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Hostile {
    /// Its number in the list.
    pub(crate) id: String,
    /// What it does.
    pub(crate) what: String,
    run: Option<String>,
    configure: Option<String>,
    #[serde(default)]
    more: String,
    #[serde(default)]
    realloc: String,
    pages: Option<u32>,
    #[serde(default)]
    encoding: Encoding,
    /// One more core module in the component.
    module: Option<String>,
    /// What must become of it.
    pub(crate) expect: Expect,
}

/// What must become of a hostile plugin.
#[derive(Debug, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub(crate) enum Expect {
    /// A verdict.
    Judged {
        /// `pass`, or the kind of its error.
        judged: String,
        /// A part of its message.
        #[serde(default)]
        says: String,
    },
    /// It is refused at load, with this in the reason.
    Refused {
        /// A part of the reason.
        refused: String,
    },
    /// It fails when it is given its configuration, with this in the reason.
    Configured {
        /// A part of the reason.
        configured: String,
    },
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
enum Encoding {
    #[default]
    #[serde(rename = "utf8")]
    Utf8,
    #[serde(rename = "utf16")]
    Utf16,
    #[serde(rename = "latin1+utf16")]
    Latin1OrUtf16,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    guests: Vec<Hostile>,
}

/// Every plugin of the file.
pub(crate) fn hostile() -> Vec<Hostile> {
    toml::from_str::<File>(include_str!("guests.toml")).expect("guests.toml").guests
}

impl Hostile {
    /// Number and deed, for messages.
    pub(crate) fn name(&self) -> String {
        format!("{}, {}", self.id, self.what)
    }

    /// The plugin's bytes.
    pub(crate) fn component(&self) -> Vec<u8> {
        let guest = Guest {
            run: self.run.as_deref().unwrap_or(Guest::PLAIN.run),
            configure: self.configure.as_deref().unwrap_or(Guest::PLAIN.configure),
            more: &self.more,
            realloc: &self.realloc,
            pages: self.pages.unwrap_or(Guest::PLAIN.pages),
            encoding: match self.encoding {
                Encoding::Utf8 => StringEncoding::UTF8,
                Encoding::Utf16 => StringEncoding::UTF16,
                Encoding::Latin1OrUtf16 => StringEncoding::CompactUTF16,
            },
            ..Guest::PLAIN
        };
        let component = guest.component();
        match &self.module {
            Some(text) => with_module(component, &wat::parse_str(text).expect(text)),
            None => component,
        }
    }
}
