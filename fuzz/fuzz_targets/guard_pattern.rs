#![no_main]

use tollgate_fuzz::{seed, texts};

libfuzzer_sys::fuzz_target!(init: { seed(texts::guard_patterns) }, |data: &[u8]| texts::guard_pattern(data));
