//! The plugins: one file each, one line in the list, run in the order of Kong's priorities.

use crate::config::schema::Record;

/// An entry of [`KINDS`]: what the configuration may say of a plugin.
pub struct PluginKind {
    pub name: &'static str,
    /// Kong's: higher runs earlier.
    pub priority: i32,
    /// The schema of `config`.
    pub schema: fn() -> Record,
}

/// Every plugin that a configuration may name.
pub static KINDS: &[PluginKind] = &[];

/// The plugin of that name.
pub fn find(name: &str) -> Option<&'static PluginKind> {
    KINDS.iter().find(|kind| kind.name == name)
}
