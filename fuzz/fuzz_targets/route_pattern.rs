#![no_main]

use tollgate_fuzz::{routes, seed};

libfuzzer_sys::fuzz_target!(init: { seed(routes::patterns) }, |data: &[u8]| routes::pattern(data));
