#![no_main]

use tollgate_fuzz::{routes, seed};

libfuzzer_sys::fuzz_target!(init: { seed(routes::paths) }, |data: &[u8]| routes::path(data));
