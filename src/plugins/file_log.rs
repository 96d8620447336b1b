//! file-log: writes a JSON line for every exchange.

use super::queued::lua_field;
use super::{Conf, Plugin, PluginKind};
use crate::config::problems::Problems;
use crate::config::rules::{get, is_set};
use crate::config::schema::{Field, Record, Rule};
use crate::error::Result;
use crate::log::record::Record as LogRecord;
use crate::log::sink::FileSink;
use serde_json::Value;
use std::path::PathBuf;
use std::sync::Arc;

/// Its entry in the list of plugins.
pub static KIND: PluginKind = PluginKind::new("file-log", 9, schema, build);

/// `config`.
pub fn schema() -> Record {
    Record::new(vec![
        Field::checked("path", file_name).required().doc("The file; it is created if it is not there."),
        Field::flag("reopen", false).doc("Whether the file is opened anew for every line."),
        lua_field(),
    ])
    .rules(vec![Rule::Check(without_lua)])
}

/// KONG(plugins/file-log/schema.lua): neither end is a space, and no `*`, `&`, `%`, `\` or backtick.
fn file_name(text: &str) -> Result<(), String> {
    let spaced = text.starts_with(char::is_whitespace) || text.ends_with(char::is_whitespace);
    if spaced || text.len() < 2 || text.contains(['*', '&', '%', '\\', '`']) {
        return Err("not a valid filename".to_owned());
    }
    Ok(())
}

pub(super) fn without_lua(config: &Value, out: &mut Problems<'_>) {
    if is_set(get(config, "custom_fields_by_lua")) {
        out.at("custom_fields_by_lua").push("not supported by this gateway");
    }
}

struct FileLog(FileSink);

impl Plugin for FileLog {
    fn logs(&self) -> bool {
        true
    }

    fn log(&self, record: &LogRecord<'_>) {
        self.0.write(record);
    }
}

#[derive(serde::Deserialize)]
struct Settings {
    path: PathBuf,
    reopen: bool,
}

fn build(conf: Conf<'_>) -> Result<Arc<dyn Plugin>> {
    let Settings { path, reopen } = conf.read()?;
    Ok(Arc::new(FileLog(FileSink::open(&path, reopen))))
}
