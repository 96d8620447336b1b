//! This process, as others know it.

use once_cell::sync::Lazy;
use uuid::Uuid;

/// Its id: new with every start.
pub static ID: Lazy<Uuid> = Lazy::new(Uuid::new_v4);

/// What its machine is called; empty where the system does not say.
pub fn hostname() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned()
}
