//! `probity explain`: what the code of a problem means, with an example and what to do.

use std::fmt::Write as _;

use clap::Args;

use super::{Exit, output};
use crate::config::{Code, did_you_mean};

/// Arguments of `explain`.
#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// The code, such as P0101; all of them, in a line each, where it is left out
    #[arg(value_name = "CODE")]
    code: Option<String>,
}

/// Prints a page, or the list of codes.
pub(super) fn explain(args: &ExplainArgs) -> anyhow::Result<Exit> {
    let Some(wanted) = &args.code else {
        let list = Code::ALL.iter().fold(String::new(), |mut list, code| {
            let _ = writeln!(list, "{code}  {}", code.meaning());
            list
        });
        output::data(&list)?;
        return Ok(Exit::Success);
    };
    let upper = wanted.to_ascii_uppercase();
    if let Some(code) = Code::ALL.iter().find(|code| code.as_str() == upper) {
        output::data(code.page())?;
        return Ok(Exit::Success);
    }
    let known: Vec<_> = Code::ALL.iter().map(|code| code.as_str().to_ascii_lowercase()).collect();
    let hint = match did_you_mean(wanted, known.iter().map(String::as_str)) {
        Some(near) => format!("did you mean {}?", near.to_ascii_uppercase()),
        None => "\"probity explain\" lists them".to_owned(),
    };
    output::error(&format!("there is no code \"{wanted}\"; {hint}"));
    Ok(Exit::Usage)
}
