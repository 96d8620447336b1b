//! `tollgate convert`: the file on stdout, the report on stderr.

use super::flags::{Convert, To};
use crate::config::convert::Form;
use std::io::Write;

/// Converts, writes, reports.
pub fn run(flags: &Convert) -> Result<(), String> {
    let form = match flags.to {
        To::Kong => Form::Declarative,
        To::Deck => Form::Deck,
    };
    let converted = crate::config::convert_files(&flags.files, form)
        .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))?;
    let written = std::io::stdout().write_all(converted.text.as_bytes());
    written.map_err(|error| format!("the result cannot be written: {error}"))?;
    // Nobody is left to be told that stderr is closed.
    let _ = writeln!(std::io::stderr(), "{}", converted.report);
    Ok(())
}
