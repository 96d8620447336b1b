//! From files to a checked configuration: document (as written) → check (all problems at once) →
//! build (typed, secrets read).
//!
//! `schema` describes what may be said, `validate` and `rules` hold a value against it; `records`
//! describes the entities of a file, `llm` what the AI plugins share.

pub mod build;
pub mod check;
pub mod document;
pub mod entities;
pub mod formats;
pub mod ids;
pub mod items;
pub mod lines;
pub mod llm;
pub mod manifests;
pub mod problems;
pub mod records;
pub mod references;
pub mod route_paths;
pub mod rules;
pub mod schema;
pub mod secret;
pub mod server;
pub mod target;
pub mod unique;
pub mod validate;
pub mod vault;

use entities::Document;
use problems::Problem;
use std::path::PathBuf;

/// Reads files as one configuration, checks it and reads its secrets from the environment.
pub fn load(files: &[PathBuf]) -> Result<Document, Vec<Problem>> {
    parse(&read(files)?)
}

/// The same of texts, each with a name for problems.
pub fn parse(texts: &[(String, String)]) -> Result<Document, Vec<Problem>> {
    parse_with(texts, &vault::process_env)
}

/// The same with another environment.
pub fn parse_with(texts: &[(String, String)], env: vault::Env<'_>) -> Result<Document, Vec<Problem>> {
    build::build(check::check(&check::sources(texts))?, env)
}

/// All that is wrong with these files; secrets are not read.
pub fn check_files(files: &[PathBuf]) -> Vec<Problem> {
    match read(files) {
        Ok(texts) => check::check(&check::sources(&texts)).err().unwrap_or_default(),
        Err(problems) => problems,
    }
}

/// Their texts, each with its name.
pub fn read(files: &[PathBuf]) -> Result<Vec<(String, String)>, Vec<Problem>> {
    let mut texts = Vec::with_capacity(files.len());
    let mut problems = Vec::new();
    for file in files {
        let name = file.display().to_string();
        match std::fs::read_to_string(file) {
            Ok(text) => texts.push((name, text)),
            Err(error) => problems.push(Problem::new("", format!("cannot read '{name}': {error}"))),
        }
    }
    if problems.is_empty() { Ok(texts) } else { Err(problems) }
}
