//! Stable codes of problems, each with its one-line meaning and a page in `pages/`.

use std::fmt;

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $variant:ident = $code:literal;)+) => {
        /// The stable code of a problem. A code is never given to another meaning.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[doc = $doc])+ $variant,)+ }

        impl Code {
            /// Every code, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The code as it is printed, such as `P0101`.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code,)+ }
            }

            /// What the code means, in a line.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+).trim_ascii(),)+ }
            }

            /// A page for people, Markdown: what it means, an example that provokes it, what to do.
            pub fn page(self) -> &'static str {
                match self { $(Self::$variant => include_str!(concat!("pages/", $code, ".md")),)+ }
            }
        }
    };
}

codes! {
    /// A file or folder cannot be read.
    Unreadable = "P0101";
    /// A file is larger than the limit.
    TooLarge = "P0102";
    /// A file is empty.
    Empty = "P0103";
    /// A file is not valid UTF-8.
    NotUtf8 = "P0104";
    /// A file is not valid TOML.
    Syntax = "P0105";
    /// A key that does not exist there.
    UnknownKey = "P0201";
    /// A key that must be given is missing.
    MissingKey = "P0202";
    /// A value of another type is wanted.
    WrongType = "P0203";
    /// A value that is not allowed there.
    BadValue = "P0204";
    /// Keys that exclude each other.
    Conflict = "P0205";
    /// A value that stands elsewhere, in the environment or in a file, cannot be had.
    Unresolved = "P0206";
    /// A folder or command line that names no pipeline.
    NoPipelines = "P0301";
    /// Two pipelines of one name.
    DuplicatePipeline = "P0302";
    /// A pipeline's name, which is its file's, is not allowed.
    PipelineName = "P0303";
    /// Two checks of one name.
    DuplicateCheck = "P0304";
    /// A target is wrong.
    BadTarget = "P0305";
    /// Targets that are the same, or share a name.
    DuplicateTarget = "P0306";
    /// A pipeline without targets.
    NoTargets = "P0307";
    /// A plugin that does not exist.
    PluginMissing = "P0401";
    /// A plugin that cannot be loaded.
    PluginUnusable = "P0402";
    /// A plugin refuses its configuration.
    PluginConfig = "P0403";
    /// A sink that cannot be opened as it is configured.
    SinkUnusable = "P0501";
    /// A request that cannot be made as it is configured.
    RequestUnusable = "P0502";
    /// Something that works but is likely not what was meant.
    Suspicious = "P0601";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
