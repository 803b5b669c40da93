//! Hot reload: what changes in the files changes in the run, without a stop and without a loss.
//!
//! Build, check, swap, by pipeline. A [`Loader`] builds what has changed beside what runs; only what is
//! right and whole is handed to the [`Runner`](crate::pipeline::Runner), whose pipelines take it at their
//! next turn. A file that is wrong changes nothing but the log. `prints` is how a change is seen, `hints`
//! why it is seen at once.
//!
//! ```text
//! event, poll, SIGHUP --> look --> settled? --> build --> check --> swap --> report
//! ```

mod prints;
mod hints;
mod load;
mod report;
mod follow;

pub use follow::{Ask, Asked, Follow, WatchMode, asking, follow};
pub use load::{Loaded, Loader};
pub use report::{PipelineChange, ReloadReport};
